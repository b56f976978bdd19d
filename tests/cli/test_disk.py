"""Disks that are full, folders that are files, rights that a user's umask takes away."""

import shutil
import subprocess
from pathlib import Path

import pytest
from packages import COMMAND
from synthetic import write_run

_MOUNT = 'mount -t tmpfs -o size="$0" tmpfs "$1" && shift && exec "$@"'


def on_a_small_disk(folder: Path, size: str, args: list[str], env: dict[str, str], cwd: Path):
    """Run a command that sees a disk of `size` at a folder; skipped where a user may not mount one."""
    folder.mkdir(exist_ok=True)
    command = ["unshare", "-rm", "sh", "-c", _MOUNT, size, str(folder)]
    if not shutil.which("unshare") or subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("a user may not mount a disk here")
    return subprocess.run([*command, *args], env=env, cwd=cwd, text=True, capture_output=True, timeout=300, check=False)


@pytest.mark.parametrize(
    "words",
    [
        ["table", "--all", "-o", "full/a.md"],
        ["report", "--all", "-o", "full/a.html", "--no-figures"],
        ["plot", "cost", "--all", "-o", "full/a.png"],
        ["baseline", "mini-none-s0", "-o", "full/a.json"],
    ],
)
def test_a_report_names_the_disk_that_is_full(words, tmp_path, variables):
    write_run(tmp_path / "runs", "none", whole=True)
    fill = ["sh", "-c", 'head -c 100000 /dev/zero > full/fill 2>&-; exec "$@"', "sh"]
    env = variables
    done = on_a_small_disk(tmp_path / "full", "4k", [*fill, COMMAND, *words], env, tmp_path)
    assert done.returncode == 3, done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith(f"bench: error: no space left on the disk of {tmp_path / 'full' / 'a.'}")
    assert "unexpected" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_stdout_is_told_of(tmp_path, variables):
    write_run(tmp_path / "runs", "none")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [COMMAND, "runs"], env=variables, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE,
            text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 3
    assert done.stderr.startswith("bench: error: no space left on the disk")


@pytest.mark.parametrize(("cache", "runs"), [("400k", None), (None, "8k")])
def test_a_run_names_the_disk_that_is_full(cache, runs, tmp_path, variables, tiny_suite):
    small = tmp_path / "small"
    where = ["--cache-dir", str(small)] if cache else ["--runs-dir", str(small)]
    suite = str(tiny_suite(methods={"contrastive": {"steps": 1, "lora_r": 256}}))
    words = [COMMAND, "run", "--no-base", "--method", "contrastive", "--suite", suite, *where]
    done = on_a_small_disk(small, cache or runs, words, variables, tmp_path)
    assert done.returncode == 3, done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert f"no space left on the disk of {small}" in line, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("option", ["--runs-dir", "--cache-dir"])
def test_a_file_in_a_folders_place_is_said(option, bench, tmp_path, tiny_suite):
    (tmp_path / "file").write_text("x")
    done = bench("run", "--method", "none", "--suite", str(tiny_suite()), "--limit", "1", option, "file")
    assert done.returncode == 3, done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert "file" in line
    assert "cannot be a folder" in line
    assert "--runs-dir" in line


def test_a_home_that_cannot_be_made_is_said(bench, tmp_path, tiny_suite):
    (tmp_path / "file").write_text("x")
    home = str(tmp_path / "file" / "home")
    done = bench("run", "--method", "none", "--suite", str(tiny_suite()), HOME=home, BENCH_CACHE="", XDG_CACHE_HOME="")
    assert done.returncode == 3, done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert home in line
    assert "BENCH_CACHE" in line


@pytest.mark.parametrize(("umask", "folder", "file"), [(0o077, 0o700, 0o600), (0o027, 0o750, 0o640)])
def test_what_is_written_has_the_rights_that_the_umask_leaves(umask, folder, file, tmp_path, variables, tiny_suite):
    suite = str(tiny_suite())
    made = tmp_path / "made"
    made.mkdir()
    paths = ["--cache-dir", str(made / "cache"), "--runs-dir", str(made / "runs")]
    whole = ["run", "--no-base", "--method", "contrastive", "--suite", suite, "--limit", "2", *paths]
    for words in (
        whole,
        ["table", "--all", "--runs-dir", str(made / "runs"), "-o", str(made / "a.md")],
        ["report", "--all", "--runs-dir", str(made / "runs"), "-o", str(made / "a.html")],
        ["plot", "cost", "--all", "--runs-dir", str(made / "runs"), "-o", str(made / "a.pdf")],
    ):
        done = subprocess.run(
            [COMMAND, *words], env=variables, cwd=tmp_path, umask=umask, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    found = {
        str(path.relative_to(made)): path.stat().st_mode & 0o777 for path in made.rglob("*") if not path.is_symlink()
    }
    assert any(name.endswith(".safetensors") for name in found)
    wrong = {name: oct(mode) for name, mode in found.items() if mode != (folder if (made / name).is_dir() else file)}
    assert not wrong
