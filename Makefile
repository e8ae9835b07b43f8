# warmstart: how much does pre-training buy? `make reproduce` is the whole of it; `make help` lists the rest.

PYTHON = python3
TORCH = auto # of setup: cpu (small), cuda (5 GB), or auto, by the NVIDIA driver
DATASET = # amazon_fr, or what EXPERIMENT says
MODEL = # e5_small_fr, or what EXPERIMENT says (params, pretrain: roberta_small_fr); a name or path/to/folder
INIT = # pretrained,random, or what EXPERIMENT says
TRAIN = # training texts: 50,100,all, or halves; allx3: in 3 times the steps; if not given all, or what EXPERIMENT says
SEEDS = 0,1,2
METHOD = full
BACKEND = fairseq
EXPERIMENT = none
EPOCHS = # the recipe's own number
DEVICE = auto
CORPUS = # of pretrain: eltec_fra, or text with ARGS="corpus.name=mine corpus.file=mine.txt"
TOKENS = 64M # of pretrain
PRECISION = # auto, or what EXPERIMENT says
LAUNCHER = local
JOBS = # runs at once; one per GPU, or one per core and per 4 GB of memory
SWEEP = default
FORCE = # 1: empty the folders of the runs asked for, and train anew
ROUNDS = 3 # of bench
WAIT = # 0: return when all jobs are submitted (LAUNCHER=slurm)
CONFIRM = # 1: clean deletes data, runs and results, too
ARGS =
DATA_DIR = data
RUNS_DIR = runs
RESULTS_DIR = results
EXTRAS = dev

comma := ,
IN := .venv/bin/python
# A misspelt variable would be ignored: each that is given must be one of those above, or CHECK, which reproduce gives.
GIVEN := $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))
UNKNOWN := $(filter-out CHECK $(shell awk '/^[A-Z_]+ =/ {print $$1}' Makefile),$(GIVEN))
ifneq ($(origin CHECK),command line)
override CHECK := # not from the environment, even with make -e
endif
ifneq ($(UNKNOWN),)
$(error $(UNKNOWN): no variable of this Makefile; `make help` lists them)
endif
# So would one of `make sweep` that is given to `make pretrain`, and the other way round.
OF_PRETRAIN := MODEL CORPUS TOKENS DEVICE PRECISION FORCE ARGS DATA_DIR RUNS_DIR
UNUSED := $(if $(filter pretrain,$(MAKECMDGOALS)),,$(filter CORPUS TOKENS,$(GIVEN)))
ifeq ($(MAKECMDGOALS),pretrain)
UNUSED := $(filter-out EXTRAS TORCH PYTHON $(OF_PRETRAIN),$(GIVEN))
endif
ifneq ($(UNUSED),)
$(error $(UNUSED): make $(MAKECMDGOALS) does not use it; make pretrain uses $(OF_PRETRAIN))
endif
# What EXTRAS asks for is installed when one stamp names it all, and more perhaps; the newest such stamp counts.
NEW := .venv/.installed-$(subst $(comma),-,$(EXTRAS))
extras_of = $(subst -, ,$(patsubst .venv/.installed-%,%,$(1)))
STAMPS := $(shell ls -t .venv/.installed-* 2>/dev/null)
STAMP := $(firstword $(foreach stamp,$(STAMPS),$(if $(filter-out $(call extras_of,$(stamp)),$(call extras_of,$(NEW))),,$(stamp))) $(NEW))
HAS := $(shell cat .venv/.torch 2>/dev/null)
ifneq ($(and $(HAS),$(filter-out auto $(HAS),$(strip $(TORCH)))),)
$(error TORCH=$(strip $(TORCH)): .venv was made with TORCH=$(HAS); rm -rf .venv, and call again)
endif
q = '$(subst ','\'',$(1))' # one word for the shell, whatever stands in it
.DEFAULT_GOAL := help
.PHONY: help setup prep sweep figures reproduce pretrain params convert bench test lock lint clean

help: ## list targets and variables
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' Makefile
	@awk '/^[A-Z_]+ =/{said = substr($$0, index($$0, "=") + 2); sub(/# /, "(", said) && said = said ")"; printf "  %-12s %s\n", $$1, said}' Makefile
	@$(foreach group,dataset model init method backend experiment,echo "  every $(group): $(patsubst bottom,bottom_<layers>,$(basename $(notdir $(wildcard hydra_conf/$(group)/*.yaml))))";)

setup: $(STAMP) ## make .venv (EXTRAS=dev,hf,cluster with transformers, SLURM and Ray, too)

$(STAMP): setup.cfg install.sh $(wildcard lock/*.txt)
	@./install.sh $(call q,$(subst -,$(comma),$(patsubst .venv/.installed-%,%,$@))) $(call q,$(strip $(TORCH))) $(call q,$(PYTHON))
	@touch $@

prep: $(STAMP) ## fetch, split and binarise DATASET for MODEL
	@set -f; exec $(IN) -m data_prep --dataset $(call q,$(DATASET)) --model $(call q,$(MODEL)) \
	  --init $(call q,$(INIT)) --experiment $(call q,$(EXPERIMENT)) --data-dir $(call q,$(DATA_DIR)) -- $(ARGS)

sweep: $(STAMP) ## train every INIT with every SEEDS
	@set -f; exec $(IN) -m sweeps --dataset $(call q,$(DATASET)) --model $(call q,$(MODEL)) --init $(call q,$(INIT)) \
	  --train $(call q,$(TRAIN)) --seeds $(call q,$(SEEDS)) --method $(call q,$(METHOD)) --backend $(call q,$(BACKEND)) \
	  --experiment $(call q,$(EXPERIMENT)) --device $(call q,$(DEVICE)) --precision $(call q,$(PRECISION)) \
	  --launcher $(call q,$(LAUNCHER)) --sweep $(call q,$(SWEEP)) --data-dir $(call q,$(DATA_DIR)) \
	  --runs-dir $(call q,$(RUNS_DIR)) $(if $(EPOCHS),--epochs $(call q,$(EPOCHS))) $(if $(JOBS),--jobs $(call q,$(JOBS))) \
	  $(if $(CHECK),--check) $(if $(filter-out 0,$(FORCE)),--force) $(if $(filter 0,$(WAIT)),--no-wait) -- $(ARGS)

figures: $(STAMP) ## report, figures, tables and statistics of SWEEP, in results/ (ARGS="--threshold 75" and the like)
	@$(IN) -m analysis --sweep $(call q,$(SWEEP)) --runs-dir $(call q,$(RUNS_DIR)) \
	  --results-dir $(call q,$(RESULTS_DIR)) --data-dir $(call q,$(DATA_DIR)) $(ARGS)

# Each line is one command, which make itself runs: a SIGTERM to make reaches it, and so the sweep.
reproduce: START := $(shell date +%s)
reproduce: ## prep, sweep and figures
	@$(MAKE) --no-print-directory sweep CHECK=1
	@$(MAKE) --no-print-directory prep
	@$(MAKE) --no-print-directory sweep
	@$(MAKE) --no-print-directory figures ARGS=
	@echo "reproduced in $$((($$(date +%s) - $(START) + 30) / 60)) minutes"

pretrain: $(STAMP) ## masked language modelling of MODEL on CORPUS, a model folder at 0, 2, 4, 8 ... M tokens
	@set -f; exec $(IN) -m sweeps pretrain --model $(call q,$(MODEL)) --corpus $(call q,$(CORPUS)) --tokens $(call q,$(strip $(TOKENS))) \
	  --device $(call q,$(DEVICE)) --precision $(call q,$(or $(PRECISION),auto)) --data-dir $(call q,$(DATA_DIR)) \
	  --runs-dir $(call q,$(RUNS_DIR)) $(if $(filter-out 0,$(FORCE)),--force) -- $(ARGS)

params: $(STAMP) ## the parameter account of MODEL, METHOD=full,lora
	@$(IN) -m analysis.parameters --model $(call q,$(or $(MODEL),roberta_small_fr)) --method $(call q,$(METHOD)) \
	  --data-dir $(call q,$(DATA_DIR))

convert: $(STAMP) ## MODEL for transformers, in data/models/<model>.hf, with proof (EXTRAS=dev,hf)
	@$(IN) -m hf_tasks convert --data-dir $(call q,$(DATA_DIR)) $(call q,$(or $(MODEL),e5_small_fr))

bench: $(STAMP) ## speeds of prep, sweep and pre-training, against stock fairseq and the Trainer, into docs/bench*.md
	@$(MAKE) --no-print-directory prep ARGS=
	@for what in prep sweep pretrain; do \
	  $(IN) -m benchmarks.$$what --rounds $(ROUNDS) --data-dir $(call q,$(DATA_DIR)) --page docs/bench.md || exit 1; done
	@for what in parts costs profile; do \
	  $(IN) -m benchmarks.parts $$what --rounds $(ROUNDS) --data-dir $(call q,$(DATA_DIR)) --page docs/bench_parts.md || exit 1; done

test: $(STAMP) ## the tests, without the slow ones (ARGS="-m slow" for those)
	@$(if $(ARGS),$(IN) -m pytest $(ARGS),OMP_NUM_THREADS=1 $(IN) -m pytest -m "not slow" -n 4 --dist worksteal)

lock: $(STAMP) ## write lock/*.txt anew: every version that `make setup` installs, torch's own packages apart
	@./lock/renew.sh

lint: $(STAMP) ## ruff and mypy
	@$(IN) -m ruff check . && $(IN) -m ruff format --check . && $(IN) -m mypy

clean: ## remove caches; with CONFIRM=1 also DATA_DIR, RUNS_DIR and RESULTS_DIR, with all that is in them
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
ifeq ($(CONFIRM),1)
	rm -rf -- $(call q,$(DATA_DIR)) $(call q,$(RUNS_DIR)) $(call q,$(RESULTS_DIR))
else
	@echo $(call q,$(DATA_DIR)$(comma) $(RUNS_DIR) and $(RESULTS_DIR) stay; make clean CONFIRM=1 deletes them$(comma) texts that you put there included)
endif
