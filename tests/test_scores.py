"""Scores: hand-computed vectors, batching, padding, chunks, and the style rater."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from language_models import chat_tokenizer, row, tiny_model
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, Qwen2ForSequenceClassification

from causalmix.core.errors import InputError
from causalmix.data import named_models
from causalmix.data.scores import flatten, hes, normalized_loss, score_rows, slabs
from causalmix.lm import conversations, losses
from causalmix.lm.raters import ClassifierRater, StyleRater, chunked_scores
from causalmix.lm.reading import BATCH_TOKENS, SCORING_LOGITS, token_ids

ROWS = [
    row("what is the opposite of cold ?", "hot"),
    row("cold", "the opposite of cold is hot , the opposite of dark is light"),
    row("dark", "light", "wet ?", "dry 1 2 3"),
    row("what is 3 ?", ""),
]


class TextTokenizer:
    """One token a character: a, b and c."""

    def __call__(self, texts, add_special_tokens):
        return {"input_ids": [["abc\n".index(c) for c in text] for text in texts]}


class TableModel:
    """A model whose next-token probabilities depend on the last token only."""

    device, config = torch.device("cpu"), PreTrainedConfig()

    def __init__(self, probabilities):
        self.logits = torch.tensor(probabilities).log()
        self.base_model = lambda input_ids, use_cache: SimpleNamespace(
            last_hidden_state=torch.eye(len(self.logits))[input_ids]
        )

    def eval(self):
        return self

    def get_output_embeddings(self):
        return _Head(self.logits)


class _Head:
    def __init__(self, logits):
        self.weight = logits.T

    def __call__(self, hidden):
        return hidden @ self.weight.T


@pytest.fixture(scope="module")
def tokenizer():
    return chat_tokenizer()


@pytest.fixture(scope="module")
def rater():
    return StyleRater().fit([("a clean line .", "lol umm a line"), ("well said .", "umm idk lol")] * 8)


@pytest.mark.parametrize("n", [1, 10, 200, 201, 400, 401, 1000, 1001, 4096])
def test_hes_sums_the_top_half_percent(n):
    """Without ties the sum runs over floor(0.005 (n - 1)) + 1 of the largest entropies."""
    entropies = np.random.default_rng(n).permutation(np.linspace(0.1, 5, n))
    k = math.floor(0.005 * (n - 1)) + 1
    assert hes(entropies) == pytest.approx(np.sort(entropies)[-k:].sum(), rel=1e-12)


def test_hes_takes_what_lies_at_or_above_numpys_percentile():
    """To the last bit, for every length and with ties."""
    rng = np.random.default_rng(3)
    for n in [*range(1, 30), *range(195, 206), *range(398, 404), 601, 1001, 2000]:
        for values in (rng.gamma(1.0, size=n), rng.integers(0, 4, n) / 3, np.full(n, 0.1)):
            assert hes(values) == values[values >= np.percentile(values, 99.5)].sum(), n


def test_hes_counts_ties_and_is_zero_for_an_empty_completion():
    """Everything at the percentile counts; no token, no entropy."""
    assert hes(np.array([1.0, 2.0, 2.0, 2.0])) == 6.0
    assert hes(np.array([])) == 0.0


def test_three_token_vocabulary_by_hand(rater):
    """HES and loss of 'ab' + 'ca' under a known model, computed on paper."""
    half, quarter, certain = [0.5, 0.25, 0.25, 1e-12], [0.25, 0.25, 0.5, 1e-12], [1 - 3e-12, 1e-12, 1e-12, 1e-12]
    model = TableModel([half, quarter, certain, half])
    scored = score_rows([row("ab", "ca")], model, TextTokenizer(), rater)
    # completion c a: after b the entropy is 1.5 bits, after c it is 0; the 99.5th percentile keeps the 1.5
    assert scored["hes"][0] == pytest.approx(1.5, abs=1e-5)
    # a b \n c a: 2 (b after a) + 39.863 (newline after b) + 2 (c after newline) + 0 (a after c), over 4 tokens
    assert scored["normalized_loss"][0] == pytest.approx((2 + 12 * math.log2(10) + 2 + 0) / 4, abs=1e-4)


def test_tokens_are_those_of_the_tokenizer_s_own_call(tokenizer):
    """Whatever an earlier call has set; one that does more than its library is asked itself."""
    texts = ["what is the opposite of cold ?", "", "dark is light 3\n<|im_end|>"]
    own = tokenizer(texts, add_special_tokens=False)["input_ids"]
    for changed in ({"max_length": 2, "truncation": True}, {"padding": True}):
        tokenizer(texts, **changed)
        assert token_ids(tokenizer, texts) == own
    assert token_ids(TextTokenizer(), ["ab"]) == [[0, 1]]
    prefixed = type("Prefixed", (type(tokenizer),), {"_encode_plus": lambda *_, **__: {"input_ids": [[7]]}})
    assert token_ids(prefixed(tokenizer_object=tokenizer.backend_tokenizer), ["a"]) == [[7]]


def test_normalized_loss_of_a_uniform_model_is_log2_of_the_vocabulary(tokenizer, rater):
    """Bits per token: exactly log2 V, and so are the entropies behind HES."""
    model = tiny_model(vocabulary=320)
    torch.nn.init.zeros_(model.get_output_embeddings().weight)
    scored = score_rows(ROWS[:2], model, tokenizer, rater)
    assert scored["normalized_loss"].tolist() == pytest.approx([math.log2(320)] * 2, rel=1e-6)
    n_tokens = len(tokenizer(ROWS[0]["messages"][1]["content"])["input_ids"])
    assert scored["hes"][0] == pytest.approx(n_tokens * math.log2(320), rel=1e-4)  # all tie at the percentile


def test_normalized_loss_converts_nats_to_bits():
    """ln 2 nats are one bit; nothing to score gives 0."""
    assert normalized_loss(np.array([math.log(2), 3 * math.log(2)])) == pytest.approx(2.0)
    assert normalized_loss(np.array([])) == 0.0


def test_empty_completion_scores_no_entropy(tokenizer, rater):
    """An empty answer has HES 0 and still a loss over its prompt."""
    scored = score_rows(ROWS, tiny_model(), tokenizer, rater)
    assert scored["hes"][3] == 0.0 and scored["normalized_loss"][3] > 0
    assert (scored["hes"][:3] > 0).all()


def test_loss_equals_that_of_transformers(tokenizer, rater):
    """Normalized_Loss is the model's own loss on the whole text, in bits."""
    model = tiny_model()
    ids = torch.tensor([tokenizer("cold\n" + ROWS[1]["messages"][1]["content"])["input_ids"]])
    expected = model(input_ids=ids, labels=ids).loss.item() / math.log(2)
    assert score_rows(ROWS, model, tokenizer, rater)["normalized_loss"][1] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("family", "own"),
    [
        ("granite", {"logits_scaling": 8.0}),
        ("hyperclovax", {"logits_scaling": 8.0}),
        ("cohere", {"logit_scale": 20.0}),
        ("gemma2", {"final_logit_softcapping": 0.1, "head_dim": 16}),
    ],
)
def test_scaled_and_capped_logits_are_the_models_own(tokenizer, rater, family, own):
    """Families that scale or cap what their head gives have the scores and losses of their own logits."""
    torch.manual_seed(0)
    shape = {"vocab_size": 320, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "pad_token_id": 0,
             "num_attention_heads": 2, "num_key_value_heads": 2, "initializer_range": 0.2}  # fmt: skip
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **shape | own)).eval()
    ids = torch.tensor([tokenizer("cold\n" + ROWS[1]["messages"][1]["content"])["input_ids"]])
    expected = model(input_ids=ids, labels=ids).loss.item() / math.log(2)
    assert score_rows(ROWS, model, tokenizer, rater)["normalized_loss"][1] == pytest.approx(expected, rel=1e-5)
    labelled = conversations.labelled(conversations.tokenize(ROWS[1:2], tokenizer), 2048)[:]
    inputs = {name: torch.tensor(labelled[name]) for name in ("input_ids", "labels")}
    expected = model(**inputs).loss.item()
    assert losses.completion_loss(model, inputs, None).item() == pytest.approx(expected, rel=1e-5)
    assert losses.token_losses(model, inputs)[0].mean().item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("batch_tokens", [1, 30, 10_000])
def test_batching_and_padding_change_nothing(tokenizer, rater, batch_tokens, monkeypatch):
    """One by one, in small batches or all at once: the same scores in the order of the rows."""
    model = tiny_model()
    alone = [score_rows([r], model, tokenizer, rater).iloc[0].to_numpy() for r in ROWS]
    monkeypatch.setitem(BATCH_TOKENS, "cpu", batch_tokens)
    together = score_rows(ROWS, model, tokenizer, rater)
    np.testing.assert_allclose(together.to_numpy(), alone, rtol=1e-5, atol=1e-6)


def test_logits_are_bounded(tokenizer, rater, monkeypatch):
    """However small the budget for logits, the scores are the same."""
    model = tiny_model()
    whole = score_rows(ROWS, model, tokenizer, rater)
    monkeypatch.setitem(SCORING_LOGITS, "cpu", 3 * 320)
    np.testing.assert_allclose(score_rows(ROWS, model, tokenizer, rater), whole, rtol=1e-6)


def test_long_rows_are_cut(tokenizer, rater, monkeypatch):
    """Beyond its limit a text does not count: 3 tokens for HES, 4 for the loss here."""
    monkeypatch.setattr("causalmix.data.scores.HES_MAX_TOKENS", 3)
    monkeypatch.setattr("causalmix.data.scores.LOSS_MAX_TOKENS", 4)
    short, long = row("1", "2 3"), row("1", "2 3" + " 4 5" * 20)
    a, b = score_rows([short, long], tiny_model(), tokenizer, rater)[["hes", "normalized_loss"]].to_numpy()
    assert b[0] == pytest.approx(a[0]) and len(tokenizer("12 3")["input_ids"]) == 3
    assert len(tokenizer("1\n2 3")["input_ids"]) == 4 and b[1] == pytest.approx(a[1])


def test_conversations_are_flattened():
    """The last assistant turn is the output; all before it is the instruction."""
    assert flatten(row("dark", "light", "wet ?", "dry")["messages"]) == ("dark\nlight\nwet ?", "dry")
    assert flatten(row("dark", "light", "thanks")["messages"]) == ("dark", "light")
    with pytest.raises(InputError, match="assistant"):
        flatten(row("dark")["messages"])


def test_chunks_weigh_by_their_tokens():
    """A last chunk of 88 tokens counts 88 / 600; a document without tokens scores 0."""
    documents = [[1.0] * 512 + [4.0] * 88, [7.0] * 3, []]
    scored = chunked_scores(documents, lambda chunks: np.array([np.mean(chunk) for chunk in chunks]))
    assert scored == pytest.approx([(512 * 1 + 88 * 4) / 600, 7.0, 0.0])
    alone = chunked_scores([[0]], lambda _: np.array([0.1], dtype=np.float32))
    assert alone.dtype == float and alone[0] == np.average(np.array([0.1], dtype=np.float32), weights=[3])


def test_rater_learns_pairs_and_survives_saving(rater, tmp_path):
    """Preferred texts score higher, unseen ones too; a saved rater gives the same scores."""
    texts = ["a clean word .", "lol a word", "", "well said . " * 300]
    scored = rater.score(texts)
    assert scored[0] > scored[1] and scored[2] == 0 and np.isfinite(scored).all()
    rater.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rater.json", "weights.safetensors"]
    assert StyleRater.load(tmp_path).score(texts) == pytest.approx(scored)


def test_rater_is_deterministic():
    """One seed, one rater."""
    pairs = [(f"clean {i} .", f"umm {i}") for i in range(300)]
    first, second = (StyleRater(64).fit(pairs, seed=5, epochs=2).weights for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, StyleRater(64).fit(pairs, seed=6, epochs=2).weights)


def test_classifier_reads_its_first_head(tokenizer):
    """A sequence classifier rates short texts by one of its outputs, whatever the batch."""
    torch.manual_seed(0)
    config = tiny_model().config
    config.num_labels = 4
    classifier = Qwen2ForSequenceClassification(config)
    texts = ["cold", "what is the opposite of dark ?"]
    with torch.inference_mode():
        ids = [torch.tensor([tokenizer(text)["input_ids"]]) for text in texts]
        expected = [classifier.eval()(input_ids=i).logits[0] for i in ids]
    rated = ClassifierRater(classifier, tokenizer).score(texts)
    assert rated == pytest.approx([float(logits[0]) for logits in expected], rel=1e-4)


def test_a_rater_runs_no_code_of_its_repository(tmp_path, monkeypatch):
    """A folder that brings its own architecture is refused in one sentence, not asked about."""
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("the user was asked"))
    tokenizer, config = chat_tokenizer(), tiny_model().config
    config.num_labels = 1
    classifier = Qwen2ForSequenceClassification(config)
    classifier.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    expected = ClassifierRater(classifier, tokenizer).score(["cold"])
    assert named_models.load_rater(str(tmp_path)).score(["cold"]) == pytest.approx(expected, rel=1e-5)
    brought = {"AutoConfig": "own.Config", "AutoModelForSequenceClassification": "own.Model"}
    (tmp_path / "own.py").write_text("raise SystemExit('executed')\n")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "of_its_own", "auto_map": brought}))
    with pytest.raises(InputError, match="Expected .* to load as a sequence classifier .* custom code") as told:
        named_models.load_rater(str(tmp_path))
    assert "\n" not in str(told.value)


def test_weights_that_would_be_random_are_refused(tmp_path):
    """A language model has no head of a classifier, nor a classifier that of a language model."""
    tiny_model().save_pretrained(tmp_path / "writer")
    config = tiny_model().config
    config.tie_word_embeddings = False
    Qwen2ForSequenceClassification(config).save_pretrained(tmp_path / "judge")
    for folder in ("writer", "judge"):
        chat_tokenizer().save_pretrained(tmp_path / folder)
    with pytest.raises(InputError, match="all weights of a sequence classifier .*/writer, found none for score.weight"):
        named_models.load_rater(str(tmp_path / "writer"))
    with pytest.raises(InputError, match="all weights of a causal language model .*/judge, found none for lm_head"):
        named_models.load_model(str(tmp_path / "judge"), bf16=False)


def test_a_pool_comes_in_slabs(monkeypatch):
    """Each of so many characters, the last of what is left; every row is in one."""
    rows = [row("q" * n, "a") for n in (9, 1, 1, 30, 2)]
    monkeypatch.setattr("causalmix.data.scores.SLAB", 10)
    assert list(slabs(rows)) == [range(1), range(1, 4), range(4, 5)] and list(slabs([])) == []


def test_a_rater_without_a_padding_token_scores():
    """As Llama's tokenizers come: texts of different lengths are still scored together."""
    tokenizer, config = chat_tokenizer(), tiny_model().config
    config.num_labels, config.pad_token_id, tokenizer.pad_token = 1, None, None
    classifier = Qwen2ForSequenceClassification(config)
    rated = ClassifierRater(classifier, tokenizer).score(["cold", "what is the opposite of dark ?"])
    assert np.isfinite(rated).all() and len(rated) == 2
