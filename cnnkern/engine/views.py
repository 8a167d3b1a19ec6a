# SPDX-License-Identifier: BSD-3-Clause
"""Concatenation without copies: blocked maps that live inside the map that holds them, at a multiple of 16 channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from cnnkern.engine.layout import Layout
from cnnkern.graph import KernelCall, Symbol

_BLOCK = 16


class View(NamedTuple):
    """Where a map lives: inside the memory of `root`, from this channel on."""

    root: Symbol
    channel: int


def channel_views(layout: Layout) -> dict[Symbol, View]:
    """The maps that need no memory of their own.

    A piece of a blocked concatenation is written where it belongs by whoever computes it; a concatenation whose pieces
    stand in a row inside a larger map already (DenseNet's growing prefix) is a part of that one; a slice of whole
    blocks (the gradient of a concatenation) is a part of what it is cut from. Later concatenations are looked at first,
    since the larger map comes later.
    """
    views: dict[Symbol, View] = {}
    for uses in reversed(layout.uses):
        calls = [use.call for use in uses if use.call.op == "copy" and set(use.layouts) == {"blocked"}]
        if len(calls) == len(uses) > 1:
            _place_pieces(calls, layout, views)
    for uses in layout.uses:
        if len(uses) == 1 and uses[0].call.op == "copy" and set(uses[0].layouts) == {"blocked"}:
            _place_slice(uses[0].call, views)
    return views


def place(views: Mapping[Symbol, View], symbol: Symbol) -> View:
    """Root and channel of a map, which may be its own root."""
    return views.get(symbol, View(symbol, 0))


def _place_pieces(calls: list[KernelCall], layout: Layout, views: dict[Symbol, View]) -> None:
    if any(n or any(spatial) for n, _, *spatial in (call.attrs["offset"] for call in calls)):
        return  # along another axis than the channels
    result = calls[0].args[1][0]
    pieces = [(call.args[0][0], call.attrs["offset"][1]) for call in calls]
    first = place(views, pieces[0][0])
    in_a_row = all(views.get(piece) == View(first.root, first.channel + offset) for piece, offset in pieces)
    if result not in views and in_a_row:
        views[result] = first
        return
    root, channel = place(views, result)
    for piece, offset in pieces:
        if piece not in views and layout.produced_blocked(piece):
            views[piece] = View(root, channel + offset)


def _place_slice(call: KernelCall, views: dict[Symbol, View]) -> None:
    (x, _), (y, _) = call.args
    n, c, *before = call.attrs["offset"]
    whole = (x.shape[0], *x.shape[2:]) == (y.shape[0], *y.shape[2:])
    if not whole or n or any(before) or c > 0 or -c % _BLOCK or y in views:
        return
    start, stop = -c, -c + y.shape[1]
    if stop > x.shape[1] or (stop % _BLOCK and stop != x.shape[1]):
        return
    root, channel = place(views, x)
    views[y] = View(root, channel + start)
