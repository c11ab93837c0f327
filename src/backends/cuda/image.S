// What nvcc made of kernels/ as bytes of the binary: ferry_cuda_image … ferry_cuda_image_end, empty
// where there was no nvcc (build.cmake).
    .section .rodata
    .global ferry_cuda_image
    .global ferry_cuda_image_end
    .balign 64
ferry_cuda_image:
#ifdef FERRY_CUDA_IMAGE
    .incbin "cuda_kernels.fatbin"
#endif
ferry_cuda_image_end:
    .byte 0

    .section .note.GNU-stack, "", %progbits
