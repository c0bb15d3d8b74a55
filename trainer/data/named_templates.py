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
#: ChatML with tools as Hermes 2 Pro, Qwen2.5 and Qwen3 write them: JSON between tags.
_HERMES = """\
{%- set led = messages and messages[0].role == 'system' -%}
{%- set own = messages[0].content if led else '' -%}
{%- if own or tools -%}
{{- '<|im_start|>system\\n' + own -}}
{%- if tools -%}
{{- ('\\n\\n' if own else '') + 'You can call these functions:\\n<tools>' -}}
{%- for tool in tools -%}{{- '\\n' + (tool | tojson) -}}{%- endfor -%}
{{- '\\n</tools>\\nWrite each call as a JSON object between tags:\\n<tool_call>\\n' -}}
{{- '{"name": NAME, "arguments": {ARGUMENT: VALUE}}\\n</tool_call>' -}}
{%- endif -%}
{{- eos_token + '\\n' -}}
{%- endif -%}
{%- for message in messages[1 if led else 0:] -%}
{{- '<|im_start|>' + message.role + '\\n' -}}
{%- if message.role == 'tool' -%}
{{- '<tool_response>\\n' + message.content + '\\n</tool_response>' -}}
{%- else -%}
{{- message.content or '' -}}
{%- endif -%}
{%- for call in message.tool_calls or [] -%}
{%- set arguments = call.function.arguments -%}
{{- '' if loop.first and not message.content else '\\n' -}}
{{- '<tool_call>\\n{"name": ' + (call.function.name | tojson) + ', "arguments": ' -}}
{{- (arguments if arguments is string else arguments | tojson) + '}\\n</tool_call>' -}}
{%- endfor -%}
{{- eos_token + '\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""
#: ``chatml``, ``hermes`` and ``zephyr`` mark turns with tokens that some base models know; ``alpaca`` and
#: ``plain`` with words that all do. Only ``hermes`` writes calls of tools.
NAMED_TEMPLATES: Mapping[str, str] = {
    "chatml": _CHATML, "zephyr": _ZEPHYR, "alpaca": _ALPACA, "plain": _PLAIN, "hermes": _HERMES,
}  # fmt: skip
