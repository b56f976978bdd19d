"""The embedded scorer: a linear SVM over word counts, in the package alt-profanity-check."""

from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from bench.errors import MissingError
from bench.hashing import hash_file, hash_json
from bench.scorers.base import Scorer, ScorerContext, ScorerIdentity, ScorerInfo, Scores
from bench.spec import Spec

_PACKAGE = "alt-profanity-check"
_FILES = ("vectorizer.joblib", "model.joblib")


class SVMConfig(Spec):
    """It has no options."""


class LinearSVM(Scorer[SVMConfig]):
    """Calibrated linear SVM trained on 200,000 labelled comments (Jigsaw, Davidson et al. 2017).

    It knows words, not meanings: explicit toxicity is found (AUC 0.97 on paraphrase pairs), implicit hate is not
    (AUC 0.70). Hence its label.
    """

    Config = SVMConfig
    info = ScorerInfo(
        name="svm",
        summary="a linear model over words, installed with the suite",
        measures="explicit toxicity",
        source="alt-profanity-check (trained on Jigsaw; Davidson et al., 2017)",
    )
    batch_size = 2048

    def load(self, ctx: ScorerContext) -> ScorerIdentity:
        """Find the SVM's files; it is imported when the first text is scored.

        Raises:
            MissingError: alt-profanity-check is not installed, or not whole.
        """
        del ctx
        mend = f"pip install {_PACKAGE}"
        try:
            package = version(_PACKAGE)
        except PackageNotFoundError:
            raise MissingError(f"scorer 'svm' needs the package {_PACKAGE}", mend=mend) from None
        spec = find_spec("profanity_check")
        places = [Path(place) / "data" for place in (spec and spec.submodule_search_locations) or ()]
        folder = next((place for place in places if all((place / name).is_file() for name in _FILES)), None)
        if folder is None:
            raise MissingError(f"the files of {_PACKAGE} are not whole", mend=f"{mend} --force-reinstall")
        hashes = {name: hash_file(folder / name) for name in _FILES}
        return ScorerIdentity(
            name="svm",
            label="explicit toxicity (linear SVM)",
            hash=hash_json({"package": package, "files": hashes}),
            attributes=("toxicity",),
            licence="MIT",
        )

    def score(self, texts: Sequence[str]) -> list[Scores | None]:
        """Score texts; 50,000 and more a second on one core."""
        predict = import_module("profanity_check").predict_prob
        return [{"toxicity": float(probability)} for probability in predict(list(texts))] if texts else []
