# foo_test.cc beside foo.cc: one test binary per folder of src/, and one for tests/.
if(FERRY_TESTS)
  enable_testing()
  find_package(GTest REQUIRED)
  include(GoogleTest)

  function(ferry_add_tests target sources)
    if(NOT sources)
      return()
    endif()
    add_executable(${target} ${sources})
    target_link_libraries(${target} PRIVATE far_backend ferry ferry_options fmt::fmt GTest::gmock
      GTest::gtest_main nlohmann_json::nlohmann_json)
    # Optimising the tests themselves takes longer than running them; what they test is optimised.
    target_compile_options(${target} PRIVATE
      $<$<CONFIG:Release>:-O1> $<$<CONFIG:RelWithDebInfo>:-O1 -g1>)
    target_compile_definitions(${target} PRIVATE
      FERRY_SOURCE_DIR="${PROJECT_SOURCE_DIR}" FERRY_BINARY="$<TARGET_FILE:ferry_cli>")
    # The first target makes the precompiled headers, the others use them.
    if(TARGET base_test AND NOT target STREQUAL base_test)
      ferry_compile_together(${target} REUSE_FROM base_test)
    else()
      ferry_compile_together(${target} PRIVATE ${FERRY_COMMON_HEADERS} <gmock/gmock.h>
        <gtest/gtest.h>)
    endif()
    gtest_discover_tests(${target} DISCOVERY_MODE PRE_TEST TEST_PREFIX ${target}.
      PROPERTIES TIMEOUT 600)
  endfunction()

  foreach(folder base disk quant device weights nn models sample grammar text engine plan server
          cmd)
    file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${folder}/*_test.cc)
    ferry_add_tests(${folder}_test "${sources}")
  endforeach()
  if(TARGET cmd_test)
    target_link_libraries(cmd_test PRIVATE ferry_commands)
    add_dependencies(cmd_test ferry_cli)
  endif()
  file(GLOB backend_folders CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/backends/*)
  foreach(path IN LISTS backend_folders)
    get_filename_component(folder ${path} NAME)
    # foo_test_ISA.cc holds what a test needs of an instruction set, with its flags.
    file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${path}/*_test.cc ${path}/*_test_*.cc)
    ferry_add_tests(backend_${folder}_test "${sources}")
  endforeach()
  if(EXISTS ${PROJECT_SOURCE_DIR}/tests/CMakeLists.txt)
    add_subdirectory(tests)
  endif()
endif()

if(FERRY_FUZZ)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/*_fuzz.cc)
  foreach(path IN LISTS sources)
    get_filename_component(name ${path} NAME_WE)
    add_executable(${name} ${path})
    target_link_libraries(${name} PRIVATE ferry ferry_options fmt::fmt nlohmann_json::nlohmann_json)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  endforeach()
  target_link_libraries(plan_request_fuzz PRIVATE ferry_commands)
endif()

if(FERRY_BENCH)
  find_package(benchmark REQUIRED)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/*_bench.cc)
  foreach(path IN LISTS sources)
    get_filename_component(name ${path} NAME_WE)
    add_executable(${name} ${path})
    target_link_libraries(${name} PRIVATE ferry ferry_options fmt::fmt benchmark::benchmark_main)
  endforeach()
endif()
