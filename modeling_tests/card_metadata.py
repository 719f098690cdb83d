"""What the Hub says about a card's metadata, by its published specification."""

import re
from typing import Any

import yaml


def card_metadata(card: str) -> dict[str, Any]:
    match = re.match(r"---\r?\n(.*?)\r?\n---", card, flags=re.DOTALL)
    return (yaml.safe_load(match[1]) or {}) if match else {}


_RESULT_KEYS = {"task": {"type"}, "dataset": {"type", "name"}}


def card_errors(card: str) -> list[str]:
    """What is wrong with a card's metadata, by the Hub's published specification of it."""
    try:
        data = card_metadata(card)
    except yaml.YAMLError as error:
        return [f"The metadata is no YAML: {error}"]
    errors = [
        f'"{key}" must be a string' for key in ("license", "pipeline_tag") if not isinstance(data.get(key, ""), str)
    ]
    languages = data.get("language", [])
    for language in languages if isinstance(languages, list) else [languages]:
        if not re.fullmatch(r"[a-z]{2,3}|code|multilingual", str(language)):
            errors.append(f'"language" must only contain ISO 639 codes, found {language!r}')
    bases = data.get("base_model", [])
    for repo_id in [*(bases if isinstance(bases, list) else [bases]), *data.get("datasets", [])]:
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", str(repo_id)):
            errors.append(f"{repo_id!r} is no id of a repository")
    if data.get("base_model_relation", "finetune") not in ("finetune", "adapter", "merge", "quantized"):
        errors.append(f'"base_model_relation" cannot be {data["base_model_relation"]!r}')
    for index in data.get("model-index", []):
        if not index.get("name"):
            errors.append('"model-index[0].name" is required')
        for result in index.get("results", []):
            errors += [
                f'"model-index" lacks {part}.{key}'
                for part, keys in _RESULT_KEYS.items()
                for key in keys - result.get(part, {}).keys()
            ]
            errors += [
                '"model-index" has a metric without type or value'
                for m in result["metrics"]
                if not {"type", "value"} <= m.keys()
            ]
    return errors
