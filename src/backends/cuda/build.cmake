# The kernels of the cuda backend: nvcc makes one image of them, with code for A100 (sm_80), H100
# and H200 (sm_90a) and PTX for what comes after, which becomes bytes of the binary. Without nvcc the
# backend is there all the same and says that it has no kernels.
set(FERRY_CUDA "AUTO" CACHE STRING "Compile the CUDA kernels: ON, OFF, or AUTO (if nvcc is found)")
set(image_flags)
if(NOT FERRY_CUDA STREQUAL "OFF")
  find_program(FERRY_NVCC nvcc HINTS ENV CUDA_HOME PATH_SUFFIXES bin PATHS /usr/local/cuda/bin)
  if(FERRY_CUDA STREQUAL "ON" AND NOT FERRY_NVCC)
    message(FATAL_ERROR "FERRY_CUDA=ON, but nvcc was not found; set CUDA_HOME or FERRY_NVCC")
  endif()
endif()
if(FERRY_NVCC AND NOT FERRY_CUDA STREQUAL "OFF")
  set(image ${PROJECT_BINARY_DIR}/generated/cuda_kernels.fatbin)
  file(GLOB kernel_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/kernels/*)
  add_custom_command(OUTPUT ${image}
    COMMAND ${FERRY_NVCC} -std=c++17 -O3 -fatbin -I${PROJECT_SOURCE_DIR}/src
      -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90a,code=sm_90a
      -gencode arch=compute_80,code=compute_80 -o ${image}
      ${CMAKE_CURRENT_LIST_DIR}/kernels/kernels.cu
    DEPENDS ${kernel_sources} VERBATIM COMMENT "CUDA kernels")
  set(image_flags "-DFERRY_CUDA_IMAGE=1;-Wa,-I${PROJECT_BINARY_DIR}/generated")
  set_property(SOURCE ${CMAKE_CURRENT_LIST_DIR}/image.S PROPERTY OBJECT_DEPENDS ${image})
endif()
set_property(SOURCE ${CMAKE_CURRENT_LIST_DIR}/image.S PROPERTY COMPILE_OPTIONS "${image_flags}")
