"""Running out of memory, as torch says it on each kind of device, and what to do about it."""

from __future__ import annotations

# What torch and its libraries say on CUDA and Apple's processors, on Linux, on Windows, and where cuBLAS finds no room.
_WORDS = ("out of memory", "can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether a computation failed for want of memory, on any device."""
    import torch

    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(words in str(error) for words in _WORDS)


def release_memory() -> None:
    """Give back what the allocators hold, before a smaller pass; call it when no failed pass is being handled any more."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def said(error: BaseException) -> str:
    """Return an error as one short line, for the table of responses."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:300]}"
