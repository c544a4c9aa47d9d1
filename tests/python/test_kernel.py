"""jupyter_kernel_test on the installed kernel: every one of its tests, none skipped."""

import jupyter_kernel_test
import pytest

pytestmark = pytest.mark.usefixtures("environment")

# An attribute left unset would skip its test; here that is a failure.
jupyter_kernel_test.SkipTest = AssertionError


class TestKernel(jupyter_kernel_test.KernelTests):
    kernel_name = "codriver"
    language_name = "rust"
    file_extension = ".rs"

    code_hello_world = 'print!("hello, "); println!("world");'
    code_stderr = 'eprintln!("to stderr");'
    completion_samples = [
        {"text": "%%age", "matches": {"%%agent"}},
        {"text": "%lsm", "matches": {"%lsmagic"}},
        {"text": "%%sql --lim", "matches": {"--limit"}},
        {"text": "%git bla", "matches": {"blame"}},
    ]
    complete_code_samples = [
        "1 + 1",
        "fn f() -> i32 { 1 }",
        'let s = "%not a magic";',
        "%lsmagic",
        "!ls",
        "%%sql\nSELECT 1",
        "%%agent what is in my tables?",
    ]
    incomplete_code_samples = ["fn f() {", "let v = vec![1,", 'let s = "open', "%%sql", "%%sql\nSELECT (1"]
    invalid_code_samples = ["let x = );", "fn 1() {}"]
    code_page_something = "%%agent?"
    code_generate_error = 'panic!("on purpose")'
    code_execute_result = [
        {"code": "6 * 7", "result": "42"},
        {"code": '"six".len()', "result": "3"},
        {"code": "%set answer 42\n%set answer", "result": "42"},
    ]
    code_display_data = [
        {"code": "%sql SELECT 1 AS one\n6 * 7", "mime": "text/html"},
        {"code": 'cell::display("text/html", "<b>x</b>");', "mime": "text/html"},
    ]
    code_history_pattern = "6?*7"
    supported_history_operations = ("tail", "range", "search")
    code_inspect_sample = "%%sql"
    code_clear_output = "%clear"


class TestSqlCells(jupyter_kernel_test.KernelTests):
    """The same tests once more, for a notebook that holds SQL and shell alone."""

    kernel_name = "codriver"
    language_name = "rust"
    file_extension = ".rs"

    code_hello_world = "%%bash\nprintf 'hello, '; echo world"
    code_stderr = "!echo to stderr >&2"
    completion_samples = [{"text": "%%sq", "matches": {"%%sql"}}]
    complete_code_samples = ["%%sql\nSELECT 1;", "%sql SELECT 1"]
    incomplete_code_samples = ["%%sql\nSELECT 'open"]
    invalid_code_samples = ["%%sql\nSELECT 1 FROM )"]
    code_page_something = "%sql?"
    code_generate_error = "%%sql\nSELECT * FROM no_such_table"
    code_execute_result = [{"code": "%sql SELECT 42 AS n"}, {"code": "%%sql\nSELECT 'ä' AS letter"}]
    code_display_data = [{"code": "%sql SELECT 1 AS one\n%sql SELECT 2 AS two", "mime": "text/html"}]
    code_history_pattern = "%sql SELECT 42*"
    supported_history_operations = ("tail", "range", "search")
    code_inspect_sample = "%git"
    code_clear_output = "%clear --wait"


class TestIopubWelcome(jupyter_kernel_test.IopubWelcomeTests):
    kernel_name = "codriver"
    support_iopub_welcome = True
