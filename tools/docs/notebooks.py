"""Turn an executed notebook into a page: Markdown with its outputs, and its pictures beside it."""

from __future__ import annotations

from pathlib import Path


def notebook_page(notebook: Path) -> Path:
    """Write the page of a notebook beside it; returns the page.

    Pictures are written to the folder `NAME_files` beside the page.

    Raises:
        ValueError: A code cell has no execution count, so its output is not that of a whole run.
    """
    import nbformat
    from nbconvert import MarkdownExporter

    content = nbformat.read(notebook, as_version=4)
    for place, cell in enumerate(content.cells, 1):
        if cell.cell_type == "code" and cell.source.strip() and cell.execution_count is None:
            message = f"{notebook.name}: code cell {place} was not executed. Execute the notebook from top to bottom and save it."
            raise ValueError(message)
    resources = {"output_files_dir": f"{notebook.stem}_files", "unique_key": notebook.stem}
    body, produced = MarkdownExporter().from_notebook_node(content, resources=resources)
    for name, data in produced.get("outputs", {}).items():
        file = notebook.parent / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    page = notebook.with_suffix(".md")
    # The language of the block says that it is a shell's; the cell's own mark would not run in one.
    page.write_text(body.replace("```bash\n%%bash\n", "```bash\n"))
    return page
