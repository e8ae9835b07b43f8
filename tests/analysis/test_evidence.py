"""Which groups are compared, and which comparisons come first; whole reports are in test_reports.py."""

from analysis.captions import title_of_gaps
from analysis.evidence import Evidence, gather_evidence
from tests.analysis.made_up import made_up, nowhere


def test_every_pair_that_differs_in_one_thing_is_compared_inits_first(published: Evidence) -> None:
    assert [(c.axis, *c.sides) for c in published.comparisons] == [
        ("init", "pretrained", "random"),
        ("backend", "fairseq", "hf"),
    ]
    assert published.leading() == published.of_init() == published.comparisons[:1]  # what titles speak of


def test_comparisons_of_inits_come_first_and_titles_speak_of_no_others() -> None:
    tests = {"pretrained": 79.0, "random": 65.0}
    runs = [
        made_up((900, 80.0, test + seed), seed, backend, init)
        for backend in ("fairseq", "hf")
        for init, test in tests.items()
        for seed in (0, 1)
    ]
    evidence = gather_evidence(runs, nowhere(runs), 70.0)
    assert [c.axis for c in evidence.comparisons] == ["init", "init", "backend", "backend"]
    assert [(c.axis, c.rest["backend"]) for c in evidence.leading()] == [("init", "fairseq"), ("init", "hf")]
    assert title_of_gaps(evidence).count("points of test accuracy on") == 2
