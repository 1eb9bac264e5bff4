# Every command a person types. Plain `make` prints them.
.DEFAULT_GOAL := help
PY := .venv/bin/python
BIN := .venv/bin

##@ Use it
