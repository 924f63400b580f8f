"""Model cards: their content, and the escaping of text from data."""

from __future__ import annotations

import copy
import re

import polars as pl
import pytest
import yaml

from valuestrata.errors import InputDataError
from valuestrata.files import write_json
from valuestrata.scores.schema import SCORES
from valuestrata.tuning import load_recipe
from valuestrata.tuning.evaluate.forgetting import MEASURES, compared, write_forgetting
from valuestrata.tuning.model_card import card_text, write_card

TRAINING = {
    "format": "valuestrata-adapter-1",
    "request": {
        "dataset": "f" * 64,
        "model": "hf:org/base@abc",
        "split": "paper",
        "fold": None,
        "control": None,
        "recipe": load_recipe("modal").document,
    },
    "base": {"word": "hf:org/base@abc", "model": "org/base", "revision": "abc123", "dtype": "float32"},
    "data": {
        "survey": {"name": "wvs7", "title": "World Values Survey 7", "version": "2", "citation": "Somebody (2022)"},
        "place": "Singapore",
        "fingerprint": "f" * 64,
    },
    "control": None,
    "held_out": {"fold_label": "all", "test_pairs": 1234, "subgroups": ["age_x_religion_16-24-years_Muslim", "b"], "items": []},
    "examples": {"train": 10_177, "validation": 500},
    "updates": {"planned": 400, "made": 300, "kept": 250},
    "validation": {"before": {"loss": 2.5, "accuracy_expected": 0.41}, "after": {"loss": 1.25, "accuracy_expected": 0.62}},
    "versions": {"peft": "0.21.2"},
}


def changed(**parts) -> dict:
    document = copy.deepcopy(TRAINING)
    for key, change in parts.items():
        document[key] = {**document[key], **change} if isinstance(change, dict) else change
    return document


def score_row(by: str, key: str, metric: str, value: float | None, low: float | None = None, high: float | None = None, **more) -> dict:
    usual = {
        "run": "tuned",
        "scheme": "paper",
        "fold": None,
        "part": "test",
        "pairs": 100,
        "coverage": 1.0,
        "elicitation": "logprob",
        "template": "default",
    }
    return usual | {"by": by, "key": key, "metric": metric, "value": value, "ci_low": low, "ci_high": high, "against": None} | more


def head_of(text: str) -> dict:
    found = re.match(r"---\n(.*?\n)---\n", text, re.DOTALL)
    assert found
    return yaml.safe_load(found[1])


def test_the_head_is_that_of_an_adapter_on_the_hub():
    head = head_of(card_text(TRAINING))
    assert head["base_model"] == "org/base"
    assert head["base_model_relation"] == "adapter"
    assert head["library_name"] == "peft"
    assert {"valuestrata", "lora", "recipe-modal"} <= set(head["tags"])


def test_the_hub_reads_the_card():
    hub = pytest.importorskip("huggingface_hub")
    card = hub.ModelCard(card_text(TRAINING))
    assert card.data.base_model == "org/base"
    assert card.data.library_name == "peft"
    assert card.text.strip().startswith("# World Values Survey 7")


def test_paths_of_local_models_are_left_out():
    for word, shown in (
        ("hf:/home/somebody/secret/base", "hf:FOLDER"),
        ("gguf:/home/somebody/secret/base.gguf", "gguf:FILE"),
        ("embedded", "embedded"),
    ):
        text = card_text(changed(base={"word": word, "model": "base"}))
        assert "base_model" not in head_of(text)
        assert "somebody" not in text
        assert f"--model {shown}+ADAPTER" in text
    recipe = load_recipe("modal", template="/home/somebody/secret/mine.yaml").document
    text = card_text(changed(request={"recipe": recipe}))
    assert "somebody" not in text
    assert "template: mine.yaml" in text


def test_the_card_has_data_recipe_and_validation():
    text = card_text(TRAINING)
    for said in (
        "abc123",
        "f" * 64,
        "10,177",
        "1,234 pairs",
        "age_x_religion_16-24-years_Muslim, b.",
        "Singapore",
        "Somebody (2022)",
        "300, 250",
    ):
        assert said in text, said
    assert "**Items** without a training or validation pair (0): none." in text
    block = re.search(r"```yaml\n(.*?)\n```", text, re.DOTALL)
    assert block
    assert yaml.safe_load(block[1]) == TRAINING["request"]["recipe"]
    assert "| expected accuracy | .410 | .620 |" in text
    assert "say nothing about held-out data" in text
    assert "## Intended use" in text
    assert "## Not intended" in text


def test_a_control_is_marked():
    assert "This is a control" not in card_text(TRAINING)
    text = card_text({**TRAINING, "control": {"control": "no-persona"}})
    assert "**This is a control** (no-persona)" in text


def test_scores_have_intervals_overall_by_attribute_and_level():
    scores = SCORES.frame(
        [
            score_row("all", "all", "accuracy_expected", 0.624, 0.61, 0.638),
            score_row("attribute", "sex", "accuracy_expected", 0.6),
            score_row("level", "religion: Muslim | other", "accuracy_expected", 0.5, 0.4, 0.6, pairs=1500),
            score_row("all", "all", "nmae", 0.101, 0.09, 0.11),
            score_row("level", "religion: Muslim | other", "nmae", None),
            score_row("item", "Q1", "accuracy_expected", 0.1),
            score_row("all", "all", "accuracy_expected", 0.5, against="baseline"),
            score_row("all", "all", "accuracy_expected", 0.7, run="item-mode"),
            score_row("all", "all", "bias", 0.01),
        ]
    )
    text = card_text(TRAINING, scores=scores)
    assert "| all | .624 (.610 to .638) | .101 (.090 to .110) | 100 |" in text
    assert "| attribute: sex | .600 | – | 100 |" in text
    assert r"| level: religion: Muslim \| other | .500 (.400 to .600) | – | 1,500 |" in text
    assert "**item-mode**" in text
    assert "Q1" not in text
    assert text.count("| all | ") == 2  # of each run; a difference of two runs is no score
    assert "Not scored yet" not in text
    assert "Not scored yet" in card_text(TRAINING)
    assert "Not scored yet" in card_text(TRAINING, scores=SCORES.empty())


def test_forgetting_has_its_own_table():
    before = dict.fromkeys(MEASURES, 0.5) | {"perplexity": 20.0}
    after = before | {"perplexity": 25.5}
    text = card_text(TRAINING, forgetting=compared(before, after, dict.fromkeys(MEASURES, 20)))
    assert "| perplexity | 20.000 | 25.500 | 5.500 | lower |" in text
    assert "## Forgetting" not in card_text(TRAINING)


EVIL = "a|b`c`*d*[e](http://x.y) <script>alert(1)</script>\n\n# f & www.g.h ~~i~~ \\ $j$ _k_"


@pytest.mark.parametrize("where", ["title", "place", "fold", "subgroup", "item", "key", "run", "recipe", "description", "citation"])
def test_text_from_data_is_escaped(where):
    recipe = TRAINING["request"]["recipe"]
    document = {
        "title": lambda: changed(data={"survey": {"title": EVIL}}),
        "place": lambda: changed(data={"place": EVIL}),
        "fold": lambda: changed(held_out={"fold_label": EVIL}),
        "subgroup": lambda: changed(held_out={"subgroups": [EVIL]}),
        "item": lambda: changed(held_out={"items": [EVIL]}),
        "key": lambda: TRAINING,
        "run": lambda: TRAINING,
        "recipe": lambda: changed(request={"recipe": {**recipe, "name": EVIL}}),
        "description": lambda: changed(request={"recipe": {**recipe, "description": EVIL}}),
        "citation": lambda: changed(data={"survey": {"title": "t", "citation": EVIL}}),
    }[where]()
    rows = [score_row("level", EVIL if where == "key" else "k", "accuracy", 0.5, run=EVIL if where == "run" else "r")]
    text = card_text(document, scores=SCORES.frame(rows))
    assert head_of(text)["library_name"] == "peft"
    outside = re.sub(r"```.*?\n````*|````+.*?\n````+", "", text, flags=re.DOTALL)
    shown = r"a\|b\`c\`\*d\*\[e\](http&#58;//x.y) &lt;script&gt;alert(1)&lt;/script&gt; \# f &amp; www&#46;g.h \~\~i\~\~ \\ \$j\$ \_k\_"
    assert shown in outside
    assert "<script" not in outside
    assert "\n# f" not in outside
    # Every row of a table has as many cells as its head.
    for table in re.findall(r"(?:^\|.*\n)+", outside, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1


def test_a_fence_in_a_recipe_does_not_end_the_block():
    recipe = TRAINING["request"]["recipe"] | {"name": "x```y", "description": ""}
    text = card_text(changed(request={"recipe": recipe}))
    block = re.search(r"^````yaml\n(.*?)\n````$", text, re.DOTALL | re.MULTILINE)
    assert block
    assert yaml.safe_load(block[1])["name"] == "x```y"


def test_long_lists_are_cut():
    text = card_text(changed(held_out={"subgroups": [f"s{at}" for at in range(100)]}))
    assert "(100)" in text
    assert "s39, and 60 more (training.json)." in text


def test_the_card_is_written_into_the_adapters_folder(tmp_path):
    with pytest.raises(InputDataError, match=r"adapter_config.json is missing"):
        write_card(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(InputDataError, match=r"training.json: the file does not exist"):
        write_card(tmp_path)
    write_json(tmp_path / "training.json", TRAINING)
    assert write_card(tmp_path) == tmp_path / "README.md"
    assert (tmp_path / "README.md").read_text() == card_text(TRAINING)
    # What was found of forgetting lies in the folder, and the card has it from there.
    lost = compared(dict.fromkeys(MEASURES, 0.5), dict.fromkeys(MEASURES, 0.25), dict.fromkeys(MEASURES, 20))
    write_forgetting(tmp_path, lost)
    assert write_card(tmp_path).read_text() == card_text(TRAINING, forgetting=lost)
    with pytest.raises(InputDataError, match="the key 'request' is missing"):
        card_text({"data": {}, "held_out": {}, "examples": {}, "validation": {}})
    with pytest.raises(InputDataError, match="'scheme'"):
        card_text(TRAINING, scores=pl.DataFrame({"run": ["a"]}))
