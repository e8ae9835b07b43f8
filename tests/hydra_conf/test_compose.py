"""The composed configuration: interpolations, choices, and errors that name the key and the nearest right one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.errors import UsageError
from hydra_conf.compose import compose_config, recipe_of
from hydra_conf.words import CONF_DIR, choices, group_words


def test_the_default_is_the_real_dataset_and_model() -> None:
    config = compose_config([])
    assert (config.dataset.name, config.model.name, config.init.name) == ("amazon_fr", "e5_small_fr", "pretrained")
    assert config.fairseq.task.checkpoint == "data/models/e5_small_fr/model.pt"


def test_the_recipe_reaches_fairseq() -> None:
    config = compose_config(["recipe.learning_rate=0.003", "recipe.epochs=7"])
    assert [float(rate) for rate in config.fairseq.optimization.lr] == [0.003]
    assert config.fairseq.optimization.max_epoch == 7


def test_an_override_reaches_fairseqs_own_keys_that_we_do_not_set() -> None:
    assert compose_config(["fairseq.optimization.sentence_avg=true"]).fairseq.optimization.sentence_avg is True


def test_both_inits_of_the_default_model_share_everything_but_learning_rate_and_warm_up() -> None:
    one, other = (compose_config([f"init={init}"]).recipe for init in ("pretrained", "random"))
    assert {key for key in one if one[key] != other[key]} <= {"learning_rate", "warmup_share", "source"}


def test_the_published_experiment_chooses_its_dataset_and_model_and_gives_way_to_ones_own() -> None:
    config = compose_config(["experiment=published"])
    assert (config.dataset.name, config.model.name) == ("cls_books_published", "roberta_small_fr")
    config = compose_config(["experiment=published", "dataset=allocine", "model=tiny"])
    assert (config.dataset.name, config.model.name, config.recipe.reshuffle) == ("allocine", "tiny", False)


def test_the_published_experiment_holds_the_published_numbers() -> None:
    for init in ("pretrained", "random"):
        recipe = compose_config(["experiment=published", f"init={init}", "model=roberta_small_fr"]).recipe
        assert (recipe.batch_size, recipe.epochs, recipe.reshuffle, recipe.evaluate_every) == (8, 5, False, "epoch")
        assert (recipe.learning_rate, recipe.warmup_share, recipe.weight_decay) == (1e-5, 0.06, 0.01)
        assert (recipe.adam_betas, recipe.adam_eps) == ("(0.9, 0.98)", 1e-8)


def test_usual_recipes_are_evaluated_where_curves_move_and_those_of_the_tests_at_each_epochs_end() -> None:
    for path in (CONF_DIR / "recipe").glob("*.yaml"):
        every = compose_config([f"recipe={path.stem}"]).recipe.evaluate_every
        assert every == ("epoch" if path.stem.startswith(("tiny", "published")) else "geometric"), path


@pytest.mark.parametrize(
    "group", ["dataset", "model", "init", "method", "backend", "precision", "launcher", "experiment"]
)
def test_every_choice_of_every_group_composes(group: str) -> None:
    assert choices(group)
    for choice in choices(group):
        if choice != "folder":  # which stands for a path
            compose_config([f"{group}={choice}"])


@pytest.mark.parametrize("dataset", choices("dataset"))
def test_every_dataset_says_what_it_is_where_it_comes_from_and_how_to_cite_it(dataset: str) -> None:
    config = compose_config([f"dataset={dataset}"]).dataset
    assert all(config[key] for key in ("title", "task", "licence", "citation"))
    assert config.name == dataset
    assert (CONF_DIR.parent / "data_prep" / "readers" / f"{config.reader}.py").is_file()
    assert dataset == "table" or (config.labels and config.expected)
    assert dataset == "table" or bool(config.files) != bool(config.package)
    for file in config.files:
        assert all(url.startswith("https://") for url in file.urls)
        assert bool(file.members) != bool(file.what)


def test_any_option_of_sbatch_may_be_added() -> None:
    config = compose_config(["launcher=slurm", "+launcher.options.account=nlp", "launcher.options.qos=long"])
    assert config.launcher.options == {"account": "nlp", "qos": "long"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model=folder", "MODEL=folder: say which one, MODEL=path/to/folder"),
        ("dataset.name=a/b", "dataset.name=a/b: it names folders"),
        ("dataset.valid_share=1.5", "dataset.valid_share=1.5: it is a share"),
        ("modl=e5", r"unknown configuration key 'modl' \(did you mean 'model'\?\)"),
        ("model.chekpoint=a", r"'model.chekpoint' \(did you mean 'checkpoint'\?\)"),
        ("dataset.package.memmber=a", r"'dataset.package.memmber' \(did you mean 'member'\?\)"),
        ("recipe.epochs=some", "recipe.epochs=some: it is no whole number"),
        ("recipe=nope", "there is no recipe|no such recipe"),
        ("dataset=amazonfr", r"DATASET=amazonfr: there is no such dataset \(did you mean 'amazon_fr'\?\)"),
        ("+extra=1", "keys cannot be added"),
        ("~model", "keys cannot be added or removed"),
    ],
)
def test_a_mistake_names_the_key(override: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        compose_config([override])


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@settings(max_examples=30)
@given(TEXTS.filter(lambda text: text != "null" and "${" not in text and text[:1] not in ("'", '"')))
def test_a_text_is_taken_as_it_stands_whatever_characters_it_holds(text: str) -> None:
    assert compose_config([f"dataset.train={text}"]).dataset.train == text


def test_a_text_quoted_for_hydra_and_null_are_what_they_are_for_hydra() -> None:
    config = compose_config(["dataset.train='a, b'", 'dataset.label="étiquette"', "dataset.text_pair=null"]).dataset
    assert (config.train, config.label, config.text_pair) == ("a, b", "étiquette", None)
    assert compose_config(["model.checkpoint=${model.folder}/other.pt"]).model.checkpoint.endswith(
        "e5_small_fr/other.pt"
    )


@pytest.mark.parametrize(
    "override",
    ["fairseq.optimization.lr=[1e-5],[2e-5]", "seed=0,1", "recipe.epochs=range(1,4)", "recipe.batch_size=8,16"],
)
def test_a_list_of_values_is_not_taken_for_several_sweeps(override: str) -> None:
    with pytest.raises(UsageError, match="a key takes one value, and there is no --multirun") as refused:
        compose_config([override])
    assert override in str(refused.value)


@pytest.mark.parametrize("group", ["dataset", "init", "recipe"])
def test_an_unknown_choice_is_named_whatever_characters_it_holds(group: str) -> None:
    with pytest.raises(UsageError, match=rf"{group.upper()}=é, \$\(a: there is no such {group}; choose from"):
        compose_config([f"{group}=é, $(a"])


def test_each_init_of_the_default_model_has_the_learning_rate_that_its_search_chose() -> None:
    """docs/measurements.md has the searches. All other settings of the recipe are the same for all inits."""
    chosen = {
        "pretrained": 5e-5,
        "bottom_8": 1e-4,
        "bottom_6": 1e-4,
        "embeddings": 1e-4,
        "shuffled": 5e-5,
        "statistics": 5e-5,
        "random": 1e-4,
    }
    recipes = {init: compose_config(group_words(init=init)).recipe for init in chosen}
    assert {init: recipe.learning_rate for init, recipe in recipes.items()} == chosen
    for recipe in recipes.values():
        rest = {key: value for key, value in recipe.items() if key not in ("learning_rate", "source")}
        assert rest == {key: recipes["random"][key] for key in rest}


def test_an_init_without_a_recipe_of_its_own_takes_that_of_random_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    between, drawn = (compose_config(["model=tiny", f"init={init}"]).recipe for init in ("shuffled", "random"))
    assert between == drawn
    known = ["a_random", "a_shuffled", "b", "roberta_fine_tuning"]
    monkeypatch.setattr("hydra_conf.compose.choices", lambda group: known)
    asked = [("a", "shuffled"), ("a", "embeddings"), ("a", "pretrained"), ("b", "random"), ("c", "random")]
    taken = ["a_shuffled", "a_random", "roberta_fine_tuning", "b", "roberta_fine_tuning"]
    assert [recipe_of(*names) for names in asked] == taken
    monkeypatch.undo()
    published = compose_config(group_words(experiment="published", init="statistics")).recipe
    assert published.learning_rate == 1e-5
