# Each instruction set in translation units of its own, found by name; the rest of the build stays
# at the baseline of the architecture, so that one binary runs everywhere.
set(FERRY_INSTRUCTION_SETS)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(FERRY_FLAGS_avx2 -mavx2 -mfma -mf16c -mbmi2)
  set(FERRY_FLAGS_avx512 ${FERRY_FLAGS_avx2} -mavx512f -mavx512bw -mavx512dq -mavx512vl)
  set(FERRY_FLAGS_avx512vnni ${FERRY_FLAGS_avx512} -mavx512vnni)
  set(FERRY_FLAGS_avx512bf16 ${FERRY_FLAGS_avx512} -mavx512bf16)
  set(FERRY_FLAGS_amx ${FERRY_FLAGS_avx512vnni})  # the tile instructions are assembly
  set(FERRY_INSTRUCTION_SETS avx2 avx512 avx512vnni avx512bf16 amx)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  set(FERRY_FLAGS_dotprod -march=armv8.2-a+dotprod)
  set(FERRY_INSTRUCTION_SETS dotprod)
endif()
foreach(isa IN LISTS FERRY_INSTRUCTION_SETS)
  file(GLOB_RECURSE sources_of_isa CONFIGURE_DEPENDS
       ${PROJECT_SOURCE_DIR}/src/*_${isa}.cc)
  set_property(SOURCE ${sources_of_isa} APPEND PROPERTY COMPILE_OPTIONS ${FERRY_FLAGS_${isa}})
  set_property(SOURCE ${sources_of_isa} PROPERTY SKIP_PRECOMPILE_HEADERS ON)
endforeach()
