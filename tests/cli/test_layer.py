"""A setting that only the model can judge, as a user meets it."""

import pytest


@pytest.mark.parametrize("method", ["steering", "dinm"])
def test_a_layer_that_the_model_lacks_is_one_line_and_exit_2(bench, tiny_suite, tmp_path, method):
    suite = str(tiny_suite())
    done = bench("run", "--method", method, "--set", "layer=999", "--suite", suite, "--no-base")
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert "has 2 layers and no layer 999; layer = 0 to 1" in done.stderr.strip().splitlines()[-1]
    assert not list(tmp_path.rglob("*.safetensors"))
    assert not list((tmp_path / "cache").glob("sets/*")), "found before the sets are made"
