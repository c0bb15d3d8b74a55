"""A pipeline file with a repeated block."""

from __future__ import annotations

FILE = """
gristmill: 1
name: t
vars: {turns: 3, cut: "true"}
models: {base: {engine: synthetic}, weights: {path: m}}
steps:
  slots: {source: count, rows: 3}
  seeds: {source: count, rows: 5}
  growing:
    repeat: "${turns}"
    first: {shown: {pool: seeds, times: 2}, pool: {from: [seeds, fit]}}
    last: {told: null}
    steps:
      shown: {draw: {pool: [fit, slots]}, pool: previous.pool, pool_columns: [number], from: slots}
      drafts: {generate: respond, from: shown, model: base, max_tokens: 9}
      fit: {keep: "${cut}", from: drafts}
      told: {compute: {fit: "1"}, from: fit}
      pool: {dedup: exact, columns: [prompt], from: [previous.pool, fit]}
  chosen: {dedup: exact, from: [seeds, pool, told_*]}
  dataset: {export: jsonl, from: fit_2}
"""
