"""Chat templates for models that have none, by name.

Each ends a turn with the tokenizer's own ``eos_token``, at which every server stops.
"""

from __future__ import annotations

from collections.abc import Mapping

_CHATML = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\\n' + message.content + eos_token + '\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""
_ZEPHYR = """\
{%- for message in messages -%}
{{- '<|' + message.role + '|>\\n' + message.content + eos_token + '\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>\\n' -}}{%- endif -%}
"""
_ALPACA = """\
{%- set names = {'user': '### Instruction:\\n', 'assistant': '### Response:\\n', 'system': ''} -%}
{%- for message in messages -%}
{%- if message.role not in names -%}
{{- raise_exception('alpaca has no role ' + message.role) -}}
{%- endif -%}
{{- names[message.role] + message.content -}}
{{- eos_token if message.role == 'assistant' -}}
{{- '\\n\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- names.assistant -}}{%- endif -%}
"""
_PLAIN = """\
{%- for message in messages -%}
{{- message.role + ':\\n' + message.content -}}
{{- eos_token if message.role == 'assistant' -}}
{{- '\\n\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- 'assistant:\\n' -}}{%- endif -%}
"""
#: ``chatml`` and ``zephyr`` mark turns with tokens that some base models know; ``alpaca`` and ``plain`` with
#: words that all do.
NAMED_TEMPLATES: Mapping[str, str] = {
    "chatml": _CHATML, "zephyr": _ZEPHYR, "alpaca": _ALPACA, "plain": _PLAIN,
}  # fmt: skip
