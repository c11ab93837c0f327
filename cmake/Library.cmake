# libferry.a from every source under src/ but the commands, and the binary from those. The commands
# are a library of their own, so that their tests can link them.
file(GLOB_RECURSE FERRY_SOURCES CONFIGURE_DEPENDS
     ${PROJECT_SOURCE_DIR}/src/*.cc ${PROJECT_SOURCE_DIR}/src/*.S)
list(FILTER FERRY_SOURCES EXCLUDE REGEX "_(test|test_[a-z0-9]+|fuzz|bench)\\.cc$")
set(FERRY_COMMAND_SOURCES ${FERRY_SOURCES})
list(FILTER FERRY_COMMAND_SOURCES INCLUDE REGEX "/src/cmd/")
list(FILTER FERRY_SOURCES EXCLUDE REGEX "/src/cmd/")

add_library(ferry_options INTERFACE)
target_include_directories(ferry_options INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src>
  $<BUILD_INTERFACE:${FERRY_GENERATED}>)
target_compile_options(ferry_options INTERFACE -Wall -Wextra -Wpedantic -Wshadow
  -Wno-missing-field-initializers
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict> -fno-math-errno -ffp-contract=off)
if(FERRY_SANITIZE)
  target_compile_options(ferry_options INTERFACE
    -fsanitize=${FERRY_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(ferry_options INTERFACE -fsanitize=${FERRY_SANITIZE})
endif()
if(FERRY_FUZZ)
  target_compile_options(ferry_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

add_library(ferry STATIC ${FERRY_SOURCES})
add_library(ferry::ferry ALIAS ferry)
target_include_directories(ferry PUBLIC
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_compile_features(ferry PUBLIC cxx_std_20)
target_link_libraries(ferry
  PUBLIC Threads::Threads
  PRIVATE $<BUILD_INTERFACE:ferry_options> fmt::fmt $<BUILD_INTERFACE:nlohmann_json::nlohmann_json>
          $<BUILD_INTERFACE:Boost::headers>
          PkgConfig::PCRE2 PkgConfig::UTF8PROC ZLIB::ZLIB ${CMAKE_DL_LIBS})

# Where the host does the arithmetic, loops should be vectorised; the rest, backends that call a
# vendor's libraries included, gains nothing from -O3 but build time.
set(FERRY_HOT_SOURCES ${FERRY_SOURCES})
list(FILTER FERRY_HOT_SOURCES INCLUDE REGEX "/src/(quant|backends/(cpu|reference))/")
set_source_files_properties(${FERRY_HOT_SOURCES} PROPERTIES COMPILE_OPTIONS
  "$<$<CONFIG:Release,RelWithDebInfo>:-O3>")

include(${CMAKE_CURRENT_LIST_DIR}/InstructionSets.cmake)

list(REMOVE_ITEM FERRY_COMMAND_SOURCES ${PROJECT_SOURCE_DIR}/src/cmd/main.cc)
add_library(ferry_commands STATIC ${FERRY_COMMAND_SOURCES})
# Nothing in a command is hot: what they do for long, the library does.
target_compile_options(ferry_commands PRIVATE
  $<$<CONFIG:Release>:-O1> $<$<CONFIG:RelWithDebInfo>:-O1 -g1>)
target_link_libraries(ferry_commands PUBLIC ferry ferry_options fmt::fmt
  nlohmann_json::nlohmann_json CLI11::CLI11 CURL::libcurl OpenSSL::Crypto PkgConfig::EDIT)
target_compile_definitions(ferry_commands PUBLIC FERRY_VERSION="${PROJECT_VERSION}")
add_executable(ferry_cli ${PROJECT_SOURCE_DIR}/src/cmd/main.cc)
set_target_properties(ferry_cli PROPERTIES OUTPUT_NAME ferry)
target_link_libraries(ferry_cli PRIVATE ferry_commands)
# Without ccache, which does better file by file, a full build is made short: the headers that take
# longest to read are read once, and sources of a folder are compiled some at a time. Not those with
# flags of their own, nor architectures, each of which keeps the same names to itself; elsewhere
# tools/tidy sees to it that names differ. Nor those with a table of Tables.cmake, so that another
# build can replace it (tests/promises).
function(ferry_compile_together target)
  if(CMAKE_CXX_COMPILER_LAUNCHER)
    return()
  endif()
  get_target_property(sources ${target} SOURCES)
  list(FILTER sources INCLUDE REGEX "\\.cc$")
  list(FILTER sources EXCLUDE REGEX "/src/(models|quant/formats)/|_(avx2|avx512[a-z0-9]*|amx|neon|dotprod)\\.cc$")
  foreach(path IN LISTS sources)
    file(STRINGS ${path} table REGEX "_table\\.inc\"" LIMIT_COUNT 1)
    if(table)
      continue()
    endif()
    get_filename_component(folder ${path} DIRECTORY)
    string(MAKE_C_IDENTIFIER "${folder}" folder)
    list(APPEND of_${folder} ${path})
    list(LENGTH of_${folder} count)
    math(EXPR group "(${count} - 1) / 8")
    set_source_files_properties(${path} PROPERTIES UNITY_GROUP ${folder}_${group})
  endforeach()
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
  target_precompile_headers(${target} ${ARGN})
endfunction()

set(FERRY_COMMON_HEADERS <algorithm> <functional> <map> <memory> <optional> <span> <string>
    <string_view> <vector> <fmt/format.h> <nlohmann/json.hpp>)
set_source_files_properties(${FERRY_HOT_SOURCES} PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
ferry_compile_together(ferry PRIVATE ${FERRY_COMMON_HEADERS})
ferry_compile_together(ferry_commands PRIVATE ${FERRY_COMMON_HEADERS} <CLI/CLI.hpp>)

# What a backend has to have built beside its sources.
file(GLOB FERRY_BACKEND_BUILDS CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/backends/*/build.cmake)
foreach(build IN LISTS FERRY_BACKEND_BUILDS)
  include(${build})
endforeach()

# The built-in model becomes bytes of the binary.
file(GLOB FERRY_DEMO_FILES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/demo/*.json
     ${PROJECT_SOURCE_DIR}/demo/*.safetensors)
set_source_files_properties(${PROJECT_SOURCE_DIR}/src/cmd/builtin_model.S PROPERTIES
  COMPILE_OPTIONS "-Wa,-I${PROJECT_SOURCE_DIR}/demo" OBJECT_DEPENDS "${FERRY_DEMO_FILES}")

# So does the web page, as it was built from web/ (tests/web builds it again and compares).
file(GLOB FERRY_PAGE_FILES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/web/dist/*.gz)
set_source_files_properties(${PROJECT_SOURCE_DIR}/src/server/page_files.S PROPERTIES
  COMPILE_OPTIONS "-Wa,-I${PROJECT_SOURCE_DIR}/web/dist" OBJECT_DEPENDS "${FERRY_PAGE_FILES}")

# And what the planner knows of chips, models and measured speeds.
file(GLOB FERRY_PLAN_FILES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/data/plan/*)
set_source_files_properties(${PROJECT_SOURCE_DIR}/src/plan/data.S PROPERTIES
  COMPILE_OPTIONS "-Wa,-I${PROJECT_SOURCE_DIR}/data/plan" OBJECT_DEPENDS "${FERRY_PLAN_FILES}")
