"""Failed forward passes: recognising and handling exhausted memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

# Messages of torch and its libraries on CUDA, Apple devices, Linux and Windows, and of cuBLAS.
_MESSAGES = ("out of memory", "can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED")


@dataclass(frozen=True)
class PassFailure:
    """A failed pass: its error as one line, and whether memory was exhausted, so a smaller pass may succeed."""

    error: str
    out_of_memory: bool


def failure_of(run: Callable[[], None], reset: Callable[[], None]) -> PassFailure | None:
    """Run a pass; if it fails, reset the runner and return the failure.

    The exception itself is not kept, because it holds everything the failed pass has computed. Errors that torch does not
    raise for lack of memory or numerical reasons are defects and propagate.
    """
    try:
        run()
    except (NotImplementedError, RecursionError):
        raise
    except (RuntimeError, MemoryError) as error:
        reset()
        return PassFailure(describe_error(error), is_out_of_memory(error))
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a computation failed because memory was exhausted, on any device."""
    import torch

    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(message in str(error) for message in _MESSAGES)


def release_memory() -> None:
    """Return unused memory to the device before a smaller pass; call it outside the handler of the failed pass."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def describe_error(error: BaseException) -> str:
    """Return the type and the first line of an error, at most 300 characters."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:300]}".removesuffix(": ")
