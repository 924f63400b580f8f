"""The command `view`, which shows a folder of runs in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from valuestrata.cli.output import say


def view_(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that holds data sets, runs or studies.")],
    port: Annotated[int | None, typer.Option("--port", min=0, max=65535, help="Port; by default 7473 or the next free one.")] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")] = True,
) -> None:
    """Show data sets, runs and studies of a folder in the browser, with the progress of running work, and compare runs.

    The page is available on this machine only, and changes nothing but the baselines that are kept with a data set. See docs/viewing.md.
    """
    import webbrowser

    from valuestrata.view.server import FolderSite, open_socket, serve

    site = FolderSite(folder)
    # Read once, so that a folder that does not exist is refused before a page opens.
    site.catalogue.read()
    with open_socket(port) as opened:
        address = f"http://127.0.0.1:{opened.getsockname()[1]}/"
        say(f"{folder}: {address}")
        say("The page is available on this machine only. Press Ctrl-C to stop.")
        if browser and not webbrowser.open(address):
            say("No browser could be opened. Open the address above.")
        serve(site, opened)
