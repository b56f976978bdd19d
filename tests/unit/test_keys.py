"""What the code of a method is, for its key."""

import json
import subprocess
import sys

from bench.store.keys import with_imports

SCRIPT = """
import json, sys
from bench.store.keys import code_hash, with_imports
found = {name: with_imports(name) for name in sys.argv[1:]}
hashes = [code_hash(names) for names in found.values()]
heavy = [name for name in ("torch", "transformers", "peft") if name in sys.modules]
print(json.dumps([found, heavy]))
"""


def test_the_code_is_a_methods_own_and_what_it_imports():
    found = with_imports("methods.contrastive")
    shared = {"adapter", "batches", "method", "options", "trainer"}
    assert {"methods.contrastive", *(f"methods.learning.{name}" for name in shared)} <= set(found)
    assert "methods.dpo" not in found
    assert not any("." in name.removeprefix("methods.learning.") for name in found if "learning." in name)


def test_finding_it_imports_nothing_heavy():
    """A repeat is answered from the records: that must not take the seconds that torch takes to load."""
    names = ["methods.contrastive", "methods.dexperts", "methods.preadd", "methods.adapter", "methods.none"]
    done = subprocess.run([sys.executable, "-c", SCRIPT, *names], capture_output=True, text=True, check=True)
    found, heavy = json.loads(done.stdout)
    assert heavy == []
    assert {name: tuple(one) for name, one in found.items()} == {name: with_imports(name) for name in names}
