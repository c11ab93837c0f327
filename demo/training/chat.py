"""The chat format of the demo model: its special tokens, its one tool, and conversations as text.

The same text as the Jinja template in tokenizer_config.json (evaluate.py asserts it).
"""
import json

BOS, EOS, PAD = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"
USER, ASSISTANT = "<｜User｜>", "<｜Assistant｜>"
THINK, END_THINK = "<think>", "</think>"
CALLS, END_CALLS = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
CALL, END_CALL, SEP = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>"
OUTPUTS, END_OUTPUTS = "<｜tool▁outputs▁begin｜>", "<｜tool▁outputs▁end｜>"
OUTPUT, END_OUTPUT = "<｜tool▁output▁begin｜>", "<｜tool▁output▁end｜>"

CALCULATOR = {
    "type": "function",
    "function": {
        "name": "calculator",
        "description": "Evaluate an arithmetic expression.",
        "parameters": {
            "type": "object",
            "properties": {"expression": {"type": "string"}},
            "required": ["expression"],
        },
    },
}

def tools_text(tools):
    """The tool section of the system prompt, in the DeepSeek-V3.1 wording."""
    blocks = []
    for tool in tools:
        f = tool["function"]
        blocks.append("### %s\nDescription: %s\n\nParameters: %s\n" % (
            f["name"], f["description"], json.dumps(f["parameters"], ensure_ascii=False)))
    return (
        "## Tools\nYou have access to the following tools:\n\n" + "\n".join(blocks)
        + "\nIMPORTANT: ALWAYS adhere to this exact format for tool use:\n"
        + CALLS + CALL + "tool_call_name" + SEP + "tool_call_arguments" + END_CALL
        + "{additional_tool_calls}" + END_CALLS
        + "\n\nWhere:\n- `tool_call_name` must be an exact match to one of the available tools\n"
        "- `tool_call_arguments` must be valid JSON that strictly follows the tool's Parameters Schema\n"
        "- For multiple tool calls, chain them directly without separators or spaces\n")


def render(messages, thinking=False, tools=None, add_generation_prompt=True):
    """Render a conversation.  Old reasoning is dropped; tool output is followed
    directly by the assistant's text."""
    system = "\n\n".join(m["content"] for m in messages if m["role"] == "system")
    if tools:
        system = (system + "\n\n" if system else "") + tools_text(tools)
    out = [BOS, system]
    last = None
    for m in messages:
        role = m["role"]
        if role == "user":
            out.append(USER + m["content"])
        elif role == "assistant":
            if last == "user":
                out.append(ASSISTANT + END_THINK)
            content = m.get("content") or ""
            if END_THINK in content:
                content = content.split(END_THINK, 1)[1]
            out.append(content)
            if m.get("tool_calls"):
                out.append(CALLS)
                for call in m["tool_calls"]:
                    f = call["function"]
                    out.append(CALL + f["name"] + SEP + f["arguments"] + END_CALL)
                out.append(END_CALLS)
            out.append(EOS)
        elif role == "tool":
            out.append(OUTPUT + m["content"] + END_OUTPUT)
        if role != "system":
            last = role
    if add_generation_prompt and last == "user":
        out.append(ASSISTANT + (THINK if thinking else END_THINK))
    return "".join(out)
