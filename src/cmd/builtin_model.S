// The files of demo/ as bytes of the binary. Symbols: ferry_demo_NAME, ferry_demo_NAME_end.
// CMake gives the assembler demo/ as include path.
    .section .rodata
    .macro embed name, file
    .global ferry_demo_\name
    .global ferry_demo_\name\()_end
    .balign 64
ferry_demo_\name:
    .incbin "\file"
ferry_demo_\name\()_end:
    .byte 0
    .endm

    embed config, "config.json"
    embed generation_config, "generation_config.json"
    embed tokenizer, "tokenizer.json"
    embed tokenizer_config, "tokenizer_config.json"
    embed model, "model.safetensors"

    .section .note.GNU-stack, "", %progbits
