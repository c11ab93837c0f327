# `cmake --install build/release`: the binary, the library with its headers, find_package(ferry),
# pkg-config, shell completions.
include(CMakePackageConfigHelpers)

install(TARGETS ferry EXPORT ferryTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS ferry_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/ferry
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(EXPORT ferryTargets NAMESPACE ferry:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/ferry)

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/ferryConfig.cmake.in
  ${PROJECT_BINARY_DIR}/ferryConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/ferry)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/ferryConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/ferryConfig.cmake ${PROJECT_BINARY_DIR}/ferryConfigVersion.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/ferry)

configure_file(${PROJECT_SOURCE_DIR}/cmake/ferry.pc.in ${PROJECT_BINARY_DIR}/ferry.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/ferry.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

install(CODE [[
  foreach(shell bash zsh fish)
    execute_process(COMMAND $<TARGET_FILE:ferry_cli> completion ${shell}
      OUTPUT_FILE $<TARGET_FILE_DIR:ferry_cli>/completion.${shell} COMMAND_ERROR_IS_FATAL ANY)
  endforeach()
]])
set(FERRY_SHARE ${CMAKE_INSTALL_DATAROOTDIR})
install(FILES $<TARGET_FILE_DIR:ferry_cli>/completion.bash
        DESTINATION ${FERRY_SHARE}/bash-completion/completions RENAME ferry)
install(FILES $<TARGET_FILE_DIR:ferry_cli>/completion.zsh
        DESTINATION ${FERRY_SHARE}/zsh/site-functions RENAME _ferry)
install(FILES $<TARGET_FILE_DIR:ferry_cli>/completion.fish
        DESTINATION ${FERRY_SHARE}/fish/vendor_completions.d RENAME ferry.fish)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/README.md
        DESTINATION ${CMAKE_INSTALL_DOCDIR})
