"""`bench reproduce` as it is typed."""

import pytest


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("klein-nabi-2025", "--out", "file"), "file is a file; name a folder"),
        (("klein-nabi-2025", "--out", "file/there"), "file is a file; name a folder"),
        (("klein-nabi-2025", "--out", "x", "--only", "Table 0"), "has no part 'Table 0'; did you mean 'Table"),
        (("klein-nabi", "--out", "x"), "did you mean 'klein-nabi-2025'"),
    ],
)
def test_a_wrong_command_is_one_line_before_anything_is_run(bench, tmp_path, arguments, told):
    (tmp_path / "file").write_text("")
    done = bench("reproduce", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert told in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "file"]
