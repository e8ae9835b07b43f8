"""METHOD=frozen: the head is trained, and every encoder weight stays, bit for bit, in both back ends."""

import importlib.util
import json
import shutil

import pytest
import torch

from data_prep.models.checkpoints import read_checkpoint
from fairseq_tasks.initialisation import ENCODER
from tests.conftest import EPOCHS, Workspace

BACKENDS = ["fairseq", *(["hf"] if importlib.util.find_spec("transformers") else [])]
HEAD = "classification_heads.sentence_classification_head.dense.weight"
DRAWN = 0.02  # std of a head's first weights


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_frozen_run_trains_the_head_alone(swept: Workspace, backend: str) -> None:
    """On an encoder that has learned the task: on one that has not, a head alone learns nothing here."""
    learned = swept.root / "learned" / backend
    shutil.copytree(swept.model, learned)
    shutil.copy(swept.run_folder("pretrained", 0) / "checkpoint_best.pt", learned / "model.pt")
    there = read_checkpoint(learned / "model.pt")["model"]
    words = ["--sweep", f"frozen-{backend}", "--seeds", "3", "--init", "pretrained", "--backend", backend]
    words += ["--epochs", str(EPOCHS), f"model.checkpoint={learned / 'model.pt'}", "recipe.evaluate_every=epoch"]
    changed, heads = {}, {}
    for method, rate in {"frozen": "5e-3", "full": "1e-3"}.items():
        answer = swept.sweep(*words, "--method", method, f"recipe.learning_rate={rate}")
        assert answer.returncode == 0, answer.stdout + answer.stderr
        folder = swept.root / f"runs/frozen-{backend}/amazon_fr/tiny/{backend}/{method}/pretrained/seed=3"
        assert json.loads((folder / "progress.json").read_text())["best_step"] > 0
        state = read_checkpoint(folder / "checkpoint_best.pt")["model"]
        encoder = [key for key in state if key.startswith(ENCODER) and key in there]
        assert len(encoder) >= 36
        changed[method] = {key for key in encoder if not torch.equal(state[key], there[key])}
        heads[method] = float(state[HEAD].std())
    assert not changed["frozen"]
    assert len(changed["full"]) >= 30
    assert heads["frozen"] > 1.2 * DRAWN
