"""The gallery's notebooks do what they say, run as others run notebooks: by nbclient and by papermill."""

import pathlib
import re
import shutil
import subprocess
import sys

import nbclient
import nbformat
import pytest

GALLERY = pathlib.Path(__file__).parents[2] / "notebooks" / "gallery"


@pytest.fixture(scope="module")
def executed(environment, tmp_path_factory):
    """Runs a notebook of the gallery in a folder of its own, once."""
    notebooks = {}

    def run(name):
        if name not in notebooks:
            folder = tmp_path_factory.mktemp(name)
            notebook = nbformat.read(GALLERY / f"{name}.ipynb", as_version=4)
            client = nbclient.NotebookClient(
                notebook, timeout=300, kernel_name="codriver", resources={"metadata": {"path": str(folder)}}
            )
            notebooks[name] = client.execute()
            nbformat.validate(notebooks[name])
        return notebooks[name]

    return run


def cell(notebook, source):
    """The one code cell whose source contains these words."""
    found = [cell for cell in notebook.cells if cell.cell_type == "code" and source in cell.source]
    assert len(found) == 1, f"{len(found)} cells contain {source!r}"
    return found[0]


def plain(cell):
    """All that a terminal would show of a cell's outputs, colours and thousands separators gone."""
    parts = []
    for output in cell.outputs:
        if output.output_type == "stream":
            parts.append(output.text)
        elif output.output_type == "error":
            parts.extend(output.traceback)
        else:
            parts.append(output.data.get("text/plain", ""))
    return re.sub(r"(?<=\d)[,_](?=\d{3}\b)", "", re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(parts)))


def html(cell):
    return "\n".join(output.data["text/html"] for output in cell.outputs if "text/html" in output.get("data", {}))


def answer(notebook, request):
    """What an agent's cell shows; a tool ran, and its card is folded."""
    asked = cell(notebook, f"%%agent\n{request}")
    assert "<details" in html(asked), "no folded card"
    return plain(asked)


def result(cell):
    return next(output for output in cell.outputs if output.output_type == "execute_result").data["text/plain"]


def test_quickstart_tables_and_frames(executed):
    notebook = executed("quickstart")
    table = cell(notebook, "%%sql -o by_region")
    assert "<table" in html(table)
    assert re.search(r"north\D+428\D+110500", plain(table))
    rust = cell(notebook, "cell::frame")
    assert re.search(r"north +110500.00", plain(rust))
    assert result(rust).startswith("258660")


def test_quickstart_answers(executed):
    notebook = executed("quickstart")
    assert "1000" in answer(notebook, "how many orders are there?")
    assert re.search(r"north\D+110500", answer(notebook, "total amount by region"))
    assert "ordered_at" in answer(notebook, "describe the orders table")
    assert "April" in answer(notebook, "what did I tell you about the fiscal year?")
    assert "fiscal year" in plain(cell(notebook, "%context"))


def test_quickstart_shell_and_git(executed):
    notebook = executed("quickstart")
    assert "ready: README.md report.sql" in plain(cell(notebook, "%%bash"))
    assert "\x1b[32mready:" in cell(notebook, "%%bash").outputs[0].text, "colours are kept"
    diff = cell(notebook, "%git diff")
    assert "+ORDER BY revenue DESC" in plain(diff)
    assert "report.sql" in html(diff)
    assert "report.sql" in answer(notebook, "what changed in the working tree?")
    assert "Revenue by region" in answer(notebook, "show the last commits")


def test_sql_analysis(executed):
    notebook = executed("sql-analysis")
    months = re.findall(r"\b2025-\d\d\b", plain(cell(notebook, "%%sql -o monthly")))
    assert months == [f"2025-{month:02}" for month in range(1, 13)]
    assert "Nordlicht 2" in plain(cell(notebook, "%%sql -o top_customers"))
    assert "429613" in plain(cell(notebook, "PIVOT"))
    assert "40" in answer(notebook, "how many customers are there?")
    assert "customer_id" in answer(notebook, "describe the orders table")
    assert re.search(r"software\D+499300", answer(notebook, "total amount by category"))
    assert "1152" in answer(notebook, "show the 5 largest orders")
    assert "342" in answer(notebook, "how many orders have status returned?")
    assert "372" in answer(notebook, "what is 15% of 2480?")


def test_rust_tour(executed):
    notebook = executed("rust-tour")
    assert result(cell(notebook, "fn primes")).startswith("[2, 3, 5, 7, 11")
    assert "harbor" in plain(cell(notebook, "impl Station"))
    assert "done, 15 primes below 50" in plain(cell(notebook, "print!("))
    progress = cell(notebook, "progress.update")
    assert plain(progress).strip() == "█" * 20 + " 100 %", "one display, updated in place"
    assert any("image/svg+xml" in output.get("data", {}) for output in cell(notebook, "polyline").outputs)
    assert result(cell(notebook, "thread::scope")) == "[1229, 9592, 78498]"
    assert "5 rows, the squares add up to 55" in plain(cell(notebook, 'cell::frame("squares")'))
    assert "5" in answer(notebook, "how many squares are there?")


def test_rust_error_and_its_explanation(executed):
    notebook = executed("rust-tour")
    failed = cell(notebook, "let taken = moved;")
    assert failed.outputs[-1].output_type == "error"
    assert "moved" in plain(failed)
    assert "moved" in answer(notebook, "what does this error mean?")
    assert "3 stations, 15 primes" in result(cell(notebook, "{} stations, {} primes"))


def test_sql_error_and_its_explanation(executed):
    notebook = executed("rust-tour")
    failed = cell(notebook, "sum(sqare)")
    assert [output.output_type for output in failed.outputs] == ["error"]
    assert "line 1, column 12" in plain(failed)
    assert "sqare" in answer(notebook, "why did that fail?")


def test_git_review(executed):
    notebook = executed("git-review")
    log = plain(cell(notebook, "%git log"))
    assert log.index("Document the discount") < log.index("Discount for large orders") < log.index("Total of an order")
    status = plain(cell(notebook, "%git status"))
    assert "src/discount.rs" in status and "notes.txt" in status
    assert "+    if quantity >= 50" in plain(cell(notebook, "%git diff"))
    assert "Ada Example" in plain(cell(notebook, "%git blame"))
    assert "feature/shipping" in plain(cell(notebook, "%git branch"))
    assert "Shipping costs" in plain(cell(notebook, "%git show"))
    assert "Document the discount" in answer(notebook, "show the last 2 commits")
    assert "discount.rs" in answer(notebook, "is the working tree clean?")
    assert "discount.rs" in answer(notebook, "what changed in the working tree?")
    assert "docs/prices.md" in answer(notebook, "search the files for discount")
    assert "100 pieces" in answer(notebook, "show docs/prices.md")
    assert "shipping.rs" in answer(notebook, "show the diff between main and feature/shipping")


def test_papermill_injects_parameters(environment, tmp_path):
    source, target = tmp_path / "in.ipynb", tmp_path / "out.ipynb"
    shutil.copy(GALLERY / "sql-analysis.ipynb", source)
    subprocess.run(
        [sys.executable, "-m", "papermill", "--language", "python", "-k", "codriver", "-p", "months", "3"]
        + ["--no-progress-bar", "--cwd", str(tmp_path), str(source), str(target)],
        check=True,
        env=environment,
    )
    notebook = nbformat.read(target, as_version=4)
    injected = [cell for cell in notebook.cells if "injected-parameters" in cell.metadata.get("tags", [])]
    assert [cell.source.splitlines()[-1] for cell in injected] == ["months = 3"]
    months = re.findall(r"\b2025-\d\d\b", plain(cell(notebook, "%%sql -o monthly")))
    assert months == ["2025-01", "2025-02", "2025-03"]
