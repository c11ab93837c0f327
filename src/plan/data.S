// The files of data/plan/ as bytes of the binary. Symbols: ferry_plan_NAME, ferry_plan_NAME_end.
// CMake gives the assembler data/plan/ as include path.
    .section .rodata
    .macro embed name, file
    .global ferry_plan_\name
    .global ferry_plan_\name\()_end
    .balign 64
ferry_plan_\name:
    .incbin "\file"
ferry_plan_\name\()_end:
    .byte 0
    .endm

    embed chips, "chips.json"
    embed published, "published.csv"
    embed efficiency, "efficiency.json"

    .section .note.GNU-stack, "", %progbits
