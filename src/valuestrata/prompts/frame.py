"""Conversion of prompts to and from a data frame, to answer them in another process or on another machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Any

import polars as pl

from valuestrata.errors import InputDataError
from valuestrata.frames import Column, Schema
from valuestrata.prompts.prompt import Message, Prompt, elicitation_of

_MESSAGES = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))

PROMPTS = Schema(
    "prompts.parquet",
    {
        "key": Column(pl.String, "identity of the prompt in its run (`Prompt.key`), 64 hexadecimal digits"),
        "pair_id": Column(pl.String, "{item}_{subgroup}"),
        "item": Column(pl.String, "item id"),
        "subgroup": Column(pl.String, "subgroup id"),
        "messages": Column(_MESSAGES, "the chat: role and content of each turn"),
        "prefill": Column(pl.String, "start of the assistant's turn for logprob and first-token"),
        "options": Column(pl.List(pl.String), "answer strings in displayed order"),
        "shown": Column(pl.List(pl.Int32), "scale codes in displayed order"),
        "elicitation": Column(pl.String, "readout"),
        "template": Column(pl.String, "persona template"),
        "template_version": Column(pl.String, "its version"),
        "order": Column(pl.String, "option order"),
        "paraphrase": Column(pl.Int32, "number of the wording"),
        "sample": Column(pl.Int32, "0, 1, ..."),
    },
)
CUSTOM_ID = "custom_id"
# Fields of a Prompt that are columns without conversion.
_PLAIN = tuple(name for name in PROMPTS.columns if name not in ("key", "messages"))
_LISTS = ("options", "shown")


def prompts_to_frame(prompts: Iterable[Prompt], custom_id: Callable[[Prompt], str] | None = None) -> pl.DataFrame:
    """Return prompts as a frame of `PROMPTS`, one row per prompt, in the same order.

    Args:
        prompts: the prompts.
        custom_id: gives the identifier for a provider; adds the column `custom_id`.

    Raises:
        InputDataError: a text with half a surrogate pair, which cannot be stored; names the pair.
    """
    rows = list(prompts)
    data: dict[str, Any] = {"key": [prompt.key for prompt in rows], "messages": None}
    data |= {name: [getattr(prompt, name) for prompt in rows] for name in _PLAIN}
    if custom_id is not None:
        data[CUSTOM_ID] = [custom_id(prompt) for prompt in rows]
    try:
        data["messages"] = _messages_column([prompt.messages for prompt in rows])
        data |= {name: _list_column(name, data[name]) for name in _LISTS}
        return pl.DataFrame({name: data[name] for name in _names(data)}, schema=_types(data))
    except UnicodeEncodeError as error:
        pair = next(prompt.pair_id for prompt in rows if not _is_utf8(prompt))
        raise InputDataError(
            f"pair {pair!r}: the prompt contains half a surrogate pair, which is not valid text; correct the wording or labels."
        ) from error


def prompts_from_frame(frame: pl.DataFrame, where: str = "the frame of prompts") -> list[Prompt]:
    """Return the prompts of a frame made by `prompts_to_frame`, in the same order. Other columns are ignored.

    Prompts with the same chat share one tuple of messages, to save memory.

    Args:
        frame: the frame. where: its file, for messages.

    Raises:
        InputDataError: a column is missing or of another type, or has nulls.
        UsageError: an unknown elicitation.
    """
    known = PROMPTS.check(frame, where).select(list(PROMPTS.columns))
    for name in PROMPTS.columns:
        if known[name].null_count():
            raise InputDataError(f"{where}: the column {name!r} of {PROMPTS.name} has an empty row; write the prompts file again.")
    elicitation = {word: elicitation_of(word) for word in known["elicitation"].unique()}
    columns: list[list[Any]] = [known[name].to_list() for name in _PLAIN]
    prompts: list[Prompt] = []
    lists: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for messages, *values in zip(_chats(known["messages"]), *columns, strict=True):
        fields = dict(zip(_PLAIN, values, strict=True))
        for name in _LISTS:
            whole = tuple(fields[name])
            fields[name] = lists.setdefault(whole, whole)
        fields["elicitation"] = elicitation[fields["elicitation"]]
        prompts.append(Prompt(messages=messages, **fields))
    return prompts


def _names(data: Iterable[str]) -> list[str]:
    return [*PROMPTS.columns, *(name for name in data if name not in PROMPTS.columns)]


def _types(data: Iterable[str]) -> dict[str, Any]:
    return {name: PROMPTS.columns[name].dtype if name in PROMPTS.columns else pl.String for name in _names(data)}


def _messages_column(chats: Sequence[tuple[Message, ...]]) -> pl.Series:
    turns = [message for chat in chats for message in chat]
    roles = pl.Series([message.role for message in turns], dtype=pl.String)
    contents = pl.Series([message.content for message in turns], dtype=pl.String)
    return _cut(pl.DataFrame({"role": roles, "content": contents}).to_struct(), chats)


def _list_column(name: str, lists: Sequence[tuple[Any, ...]]) -> pl.Series:
    flat = [entry for whole in lists for entry in whole]
    return _cut(pl.Series(flat, dtype=pl.String if name == "options" else pl.Int32), lists)


def _cut(flat: pl.Series, lists: Sequence[tuple[Any, ...]]) -> pl.Series:
    """Split a column of entries into lists of the lengths of `lists`. Ten times as fast as a Python object per list."""
    import pyarrow as pa

    offsets = pa.array(list(accumulate(map(len, lists), initial=0)), pa.int64())
    found = pl.from_arrow(pa.LargeListArray.from_arrays(offsets, flat.to_arrow()))
    assert isinstance(found, pl.Series)
    return found


def _chats(column: pl.Series) -> list[tuple[Message, ...]]:
    flat = column.explode(empty_as_null=False).struct
    turns = list(zip(flat.field("role").to_list(), flat.field("content").to_list(), strict=True))
    message_of: dict[tuple[Any, ...], Message] = {}
    chat_of: dict[tuple[Message, ...], tuple[Message, ...]] = {}
    chats: list[tuple[Message, ...]] = []
    start = 0
    for length in column.list.len().to_list():
        chat = tuple(message_of.setdefault(turn, Message(*turn)) for turn in turns[start : start + length])
        chats.append(chat_of.setdefault(chat, chat))
        start += length
    return chats


def _is_utf8(prompt: Prompt) -> bool:
    texts = [prompt.pair_id, prompt.item, prompt.subgroup, prompt.prefill, *prompt.options, *(turn.content for turn in prompt.messages)]
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return False
    return True
