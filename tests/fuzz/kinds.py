"""The kinds of input, by name."""

from fuzz.configured import LAYOUTS, SUITES
from fuzz.data import PROMPTS, SETS
from fuzz.driver import Kind
from fuzz.records import BASELINES, RECORDS
from fuzz.replies import REPLIES

KINDS: dict[str, Kind] = {one.name: one for one in (SUITES, SETS, PROMPTS, RECORDS, LAYOUTS, BASELINES, REPLIES)}
