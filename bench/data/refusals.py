"""How language models refuse in English, and how they talk about what they were asked to do."""

import re

_CANNOT = r"(can(no|['\u2019])?t|can not|am unable|are unable|am not able|are not able|won['\u2019]?t|will not)"
_REFUSAL = re.compile(
    r"^\W*((i['\u2019]?m|i am|we['\u2019]?re|we are) (very |so |really )?sorry\b|sorry,|(i|we) apologi[sz]e\b|"
    rf"(i|we) {_CANNOT}\b|(my |our )?apologies\b|i['\u2019]?m afraid (that )?(i|we) {_CANNOT}\b|"
    r"i['\u2019]?m (unable|not able|not comfortable)\b|as an ai\b|as a (large )?language model\b|"
    r"i['\u2019]?m (just )?an ai\b|(i|we) must (decline|refuse)\b|"
    r"unfortunately,? (i|we) (can(no|['\u2019])?t\b|am unable|are unable))",
    re.IGNORECASE,
)
"""How refusals begin."""
_DECLINED = re.compile(
    rf"\b(i|we) ({_CANNOT}|must decline|must refuse)( to)? (assist|comply|fulfil|help( you)? with|provide|support)",
    re.IGNORECASE,
)
"""What they say where they begin with something else."""
_SOON = 400  # characters of an answer in which it says so
_ANNOUNCEMENT = re.compile(
    r"^\W*(sure[,!.:]|certainly[,!.:]|of course[,!.:]|here(['\u2019]s| is| are)\b|absolutely[,!.:]|paraphrased?\b|"
    r"rephrased?\b|(the|a) (paraphrased?|rephrased|rewritten)\b)",
    re.IGNORECASE,
)
"""How talk about the task begins."""
_TASK_WORDS = re.compile(r"\b(paraphras|rephras|original sentence|toxic way|the sentence)\w*", re.IGNORECASE)


def talks_about_the_task(text: str) -> bool:
    """Whether a text refuses, announces what follows, or speaks of paraphrasing."""
    return refuses(text) or bool(_ANNOUNCEMENT.match(text) or _TASK_WORDS.search(text))


def refuses(text: str) -> bool:
    """Whether a text begins as refusals in English do, or soon says that it will not do what it was asked."""
    return bool(_REFUSAL.match(text) or _DECLINED.search(text[:_SOON]))
