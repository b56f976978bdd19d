# bench_sharpen.py
from contextlib import contextmanager

from pydantic import Field

from bench.method import APPLY, Method, MethodInfo
from bench.policy import HFPolicy
from bench.spec import Spec


class Sharpen(Method):
    """Multiply the logits, so that likely tokens become likelier still."""

    class Config(Spec):
        sharpness: float = Field(0.2, description="strength: 0 is the base", json_schema_extra=APPLY)

    info = MethodInfo(
        "sharpen", "decoding-time", "multiply the logits", "a temperature", strength="sharpness", seeded=False
    )

    def prepare(self, base, sets, ctx):
        return {}

    @contextmanager
    def applied(self, base, artifact):
        factor = 1 + self.config.sharpness

        class Sharpened(HFPolicy):
            def forward(self, *args, **kwargs):
                logits, cache = super().forward(*args, **kwargs)
                return factor * logits, cache

            def not_exportable(self):
                return "it changes logits while decoding"

        yield Sharpened(base.model, base.tokenizer)
