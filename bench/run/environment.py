"""What the experiments of one invocation share, each part resolved or loaded once, when it is first needed."""

import os
import platform
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.assets.base_results import NOTHING_KEPT, BaseResults
from bench.assets.catalogue import AssetCatalogue
from bench.assets.resolved import Resolved
from bench.errors import UsageError, did_you_mean
from bench.hashing import hash_json
from bench.method import Method, MethodInfo
from bench.progress import SILENT, Progress, note_once
from bench.run import identity
from bench.run.reuse import Reuse
from bench.run.stack import modules_of
from bench.scorers import load_scorer, said_in
from bench.scorers.checked import CheckedScorer
from bench.spec import ModelSpec, ScorerSpec, SuiteSpec
from bench.store.keys import NUMERIC, versions

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from bench.engine.batching import BatchBudget
    from bench.engine.memory import Footprint
    from bench.policy import LoadedModel, Policy

RECORDED = (
    *NUMERIC,
    "contrastive-bench",
    "peft",
    "accelerate",
    "lm_eval",
    "datasets",
    "detoxify",
    "alt-profanity-check",
    "vaderSentiment",
    "scikit-learn",
    "safetensors",
    "gguf",
    "h5py",
    "bitsandbytes",
    "trl",
    "vllm",
)
"""Packages whose version stands in the record."""


ENDPOINT_CODE = "bench.writers.system"
"""The module that asks a model behind an endpoint: figures of no other rest on it."""


@dataclass
class Environment:
    """Assets, scorer, model and what the key of every experiment has in common.

    Attributes:
        suite: The suite of all experiments.
        assets: Where models and data come from.
        progress: Where to report.
        offline: Whether the network is out of bounds.
        reuse: What may be taken from the cache and the records.
        batch_tokens: The most tokens that are read at once; None for the engine's own limit.
        shares: Whether other processes of the same command may help with an experiment.
    """

    suite: SuiteSpec
    assets: AssetCatalogue
    progress: Progress = SILENT
    offline: bool = False
    reuse: Reuse = field(default_factory=Reuse)
    batch_tokens: int | None = None
    shares: bool = False

    def resolve(self) -> None:
        """Find or fetch everything that the experiments read, so that what is missing is known before any work.

        Raises:
            MissingError: something is not available.
        """
        if not self.suite.model.endpoint:
            self.assets.check_model(self.suite.model.id, self.suite.model.revision)
        _ = self.scorer, self.further, self.model, self.data  # what may be wrong in a setting before what is large

    @cached_property
    def model(self) -> Resolved:
        """The base model's folder and hash; of one behind an endpoint, that of its name and address."""
        spec = self.suite.model
        if spec.endpoint:
            return Resolved(spec.id, Path(os.devnull), hash_json(spec.who), spec.revision, None, "endpoint")
        return self.assets.model(self.suite.model.id, self.suite.model.revision)

    def check_model(self, method: MethodInfo) -> None:
        """Find out from its configuration whether the base model can be read, and edited by a method.

        Of one behind an endpoint, whether there is what asks it.

        Raises:
            BenchError: it cannot.
        """
        if self.suite.model.endpoint:
            _ = self.base_policy
            return
        from bench.engine.architecture import config_of, refuse_quantised, refuse_unreadable

        name, config = f"model '{self.suite.model.id}'", config_of(self.model.path)
        refuse_unreadable(name, config)
        if not method.quantised:
            refuse_quantised(name, config, self.suite.model, method.name)

    def check_chat(self) -> None:
        """Find out whether the model's tokenizer can put prompts into the form that the suite asks for.

        Raises:
            MissingError: it cannot.
        """
        from bench.engine.chat import refuse_without_template

        if chat := self.suite.chat:
            refuse_without_template(f"model '{self.suite.model.id}'", self.tokenizer, chat.system)

    @cached_property
    def held_out(self) -> list[str]:
        """What the suite's tasks measure on, which no training text may meet."""
        from bench.run.plan import build_tasks

        return [text for task in build_tasks(self.suite) for text in task.evaluation_texts(self.assets)]

    @cached_property
    def tokenizer(self) -> "PreTrainedTokenizerBase":
        """The base model's tokenizer, which is there before the model is loaded."""
        from bench.engine.model import load_tokenizer

        return load_tokenizer(self.suite.model, self.model)

    @cached_property
    def base(self) -> "LoadedModel":
        """The base model in memory."""
        from bench.engine.model import load_model

        _ = self.batch_budget
        with self.progress.bar(f"load {self.suite.model.id}"):
            loaded = load_model(self.suite.model, self.model)
        self.assets.assert_unchanged(self.model)
        return loaded

    def assert_unchanged(self, inputs: Iterable[Resolved]) -> None:
        """Find out whether what an experiment reads, or has read, is still what its key says.

        Args:
            inputs: The models and adapters that its method reads.

        Raises:
            ChangedError: a model, an adapter or a data file was changed since the command began.
        """
        for found in (*inputs, *self._evaluation_data):
            self.assets.assert_unchanged(found)

    @cached_property
    def batch_budget(self) -> "BatchBudget":
        """How large batches may be: what was asked for, else what the device has room for, until memory gives out."""
        from bench.engine.batching import BATCH_BUDGET
        from bench.engine.memory import device_memory

        if self.suite.model.endpoint:
            return BATCH_BUDGET
        memory = device_memory()
        if self.batch_tokens:
            BATCH_BUDGET.tokens, BATCH_BUDGET.rule = self.batch_tokens, "asked"
        elif memory and (needed := self._footprint(self.suite.model)):
            BATCH_BUDGET.tokens, BATCH_BUDGET.rule = needed.room_for(memory.total), "memory"
        return BATCH_BUDGET

    def _footprint(self, spec: ModelSpec) -> "Footprint | None":
        """What the base model takes of a device's memory, loaded as a suite says."""
        from bench.engine.architecture import config_of
        from bench.engine.memory import footprint

        return footprint(self.model.path, config_of(self.model.path), spec)

    def check_memory(self, method: "Method[Any]") -> None:
        """Say how much memory of the device a method needs, and refuse a base model that does not fit.

        Nothing is said where there is no GPU, or the model is in memory already.

        Raises:
            MissingError: its weights alone are more than what is free.
        """
        from bench.engine.memory import device_memory, gb, refuse_too_large

        memory, spec = device_memory(), self.suite.model
        if spec.endpoint or memory is None or "base" in vars(self) or (needed := self._footprint(spec)) is None:
            return
        other = [{"dtype": "bfloat16"}] if spec.dtype == "float32" and spec.quantization == "none" else []
        other += [{"quantization": "4bit"}] if method.info.quantised else []
        others = {
            " --set ".join(f"suite.model.{key}={value}" for key, value in one.items()): found
            for one in other
            if (found := self._footprint(spec.model_copy(update=one))) is not None
        }
        refuse_too_large(f"model '{spec.id}'", needed, memory, others)
        work = max(needed.batch(self.batch_budget.tokens), method.memory(needed))
        about = f"about {gb(needed.weights + work)} of the card's {gb(memory.total)}, weights {gb(needed.weights)}"
        note_once(self.progress, f"memory of '{method.info.name}': {about}")

    @property
    def base_policy(self) -> "Policy":
        """The base model, unedited, as a policy."""
        if self.suite.model.endpoint:
            from bench.writers.system import EndpointSystem

            return EndpointSystem(self.suite.model)
        from bench.policy import HFPolicy

        return HFPolicy(self.base.model, self.base.tokenizer)

    @cached_property
    def base_results(self) -> BaseResults:
        """What is computed of the base model alone; a model behind an endpoint may be another tomorrow."""
        import torch

        spec = self.suite.model
        if spec.endpoint:
            return NOTHING_KEPT
        made_with = [
            [self.model.sha256, spec.dtype, spec.quantization],
            [self.hardware["cpu"], self.hardware["device"], torch.backends.cpu.get_cpu_capability()],
            [torch.get_num_threads(), self.batch_budget.tokens],
        ]
        return BaseResults(self.assets.cache / "base-results", made_with, self.progress)

    @cached_property
    def scorer(self) -> CheckedScorer:
        """The suite's headline scorer.

        Raises:
            UsageError: it does not score what the suite controls.
        """
        return self._load_scorer(self.suite.scorer)

    @cached_property
    def further(self) -> dict[str, CheckedScorer]:
        """The suite's other scorers, by what they are called.

        Raises:
            UsageError: one does not score what the suite controls.
        """
        return {key: self._load_scorer(spec) for key, spec in self.suite.further.items()}

    @property
    def labelling(self) -> CheckedScorer:
        """The scorer that training sees."""
        return self.further.get(self.suite.labelling.key, self.scorer)

    def _load_scorer(self, spec: ScorerSpec) -> CheckedScorer:
        option = said_in(self.suite, spec)
        scorer = load_scorer(spec, self.assets.cache, offline=self.offline, progress=self.progress, option=option)
        name, known = self.suite.scored_as.name, scorer.identity.attributes
        if name not in known:
            what = f"scorer '{spec.key}' does not score '{name}', which the suite controls"
            if self.suite.scored:
                what = f"scorer '{spec.key}' does not score '{name}', which the suite has under 'scored'"
            raise UsageError(what, mend=did_you_mean(name, known))
        return scorer

    @cached_property
    def data(self) -> list[dict[str, Any]]:
        """The evaluation data of the suite's tasks, each once."""
        return [data_row(one) for one in self._evaluation_data]

    @cached_property
    def _evaluation_data(self) -> list[Resolved]:
        from bench.run.plan import build_tasks

        return list({one.id: one for task in build_tasks(self.suite) for one in task.data(self.assets)}.values())

    def code(self, method: str) -> dict[str, Any]:
        """Hash of the code behind a method's figures, and the commit that it came from."""
        return self.code_facts(self.run_code(method))

    @staticmethod
    def code_facts(code: str) -> dict[str, Any]:
        """A hash of code, and the commit that it came from."""
        return {"hash": code, **_git()}

    def run_code(self, method: str) -> str:
        """Hash of the code behind a method's figures."""
        from bench.run.plan import build_tasks

        tasks = [type(task).__module__ for task in build_tasks(self.suite)]
        scorers = [_module_of(spec) for spec in (self.suite.scorer, *self.suite.further.values())]
        asking = [ENDPOINT_CODE] if self.suite.model.endpoint else []
        return identity.run_code([*tasks, *asking], scorers, self.method_code(method))

    def method_code(self, method: str) -> str:
        """Hash of a method's own code, of what it imports, and of what lets it make its artifact."""
        return identity.method_code(modules_of(method), in_groups=self.suite.sets.at_once is not None)

    @property
    def sets_code(self) -> str:
        """Hash of the code that makes contrastive sets."""
        return identity.sets_code(_module_of(self.suite.labelling))

    @property
    def packages(self) -> dict[str, str]:
        """Versions for the record."""
        return versions(RECORDED)

    @cached_property
    def hardware(self) -> dict[str, Any]:
        """The machine, for the record; no name of it, no path on it."""
        cpu = platform.processor() or platform.machine()
        info = Path("/proc/cpuinfo")
        if info.exists():
            names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
            cpu = names[0].partition(":")[2].strip() if names else cpu
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None
        return {
            "cpu": cpu,
            "cores": os.cpu_count(),
            "memory": memory,
            "platform": platform.platform(),
            "python": platform.python_version(),
            "device": self._device(),
        }

    @staticmethod
    def _device() -> str:
        import torch

        return str(torch.cuda.get_device_name(0)) if torch.cuda.is_available() else "cpu"


def data_row(one: Resolved) -> dict[str, Any]:
    """What the record says of a data file."""
    return {"id": one.id, "sha256": one.sha256, "revision": one.revision, "licence": one.licence, "source": one.source}


def _module_of(scorer: ScorerSpec) -> str:
    return str(registry.load("scorers", scorer.name).__module__)


def _git() -> dict[str, Any]:
    """Commit and dirtiness of the source tree that the package runs from; null where it is not in one."""
    here = Path(__file__).resolve().parent

    def ask(*arguments: str) -> str | None:
        if not shutil.which("git"):
            return None
        done = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=False)  # noqa: S603, S607
        return done.stdout.strip() if done.returncode == 0 else None

    tracked = ask("ls-files", "--error-unmatch", Path(__file__).name)
    if tracked is None:
        return {"commit": None, "dirty": None}
    return {"commit": ask("rev-parse", "HEAD"), "dirty": bool(ask("status", "--porcelain", "."))}
