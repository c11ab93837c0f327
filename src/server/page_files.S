// The files of web/dist/ as bytes of the binary. Symbols: ferry_page_NAME, ferry_page_NAME_end.
// CMake gives the assembler web/dist/ as include path.
    .section .rodata
    .macro embed name, file
    .global ferry_page_\name
    .global ferry_page_\name\()_end
    .balign 64
ferry_page_\name:
    .incbin "\file"
ferry_page_\name\()_end:
    .byte 0
    .endm

    embed index, "index.html.gz"
    embed script, "page.js.gz"
    embed style, "page.css.gz"
    embed icon, "favicon.svg.gz"
    embed licenses, "licenses.txt.gz"
    embed report, "report.html.gz"

    .section .note.GNU-stack, "", %progbits
