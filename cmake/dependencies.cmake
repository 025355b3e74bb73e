# Every library that dnsel uses, found once. tools/setup installs all of them.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

# oneDNN's own CMake file asks for OpenCL's headers, which the CPU part does not need.
find_path(DNNL_INCLUDE_DIR dnnl.h REQUIRED)
find_library(DNNL_LIBRARY dnnl REQUIRED)
add_library(DNNL INTERFACE IMPORTED)
set_target_properties(DNNL PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES ${DNNL_INCLUDE_DIR} INTERFACE_LINK_LIBRARIES ${DNNL_LIBRARY})

pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(LMDB REQUIRED IMPORTED_TARGET lmdb)
pkg_check_modules(LIBZIP REQUIRED IMPORTED_TARGET libzip)
pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
pkg_check_modules(FFMPEG REQUIRED IMPORTED_TARGET libavformat libavcodec libswscale libavutil)
pkg_check_modules(AVFILTER REQUIRED IMPORTED_TARGET libavfilter)
pkg_check_modules(OPENBLAS REQUIRED IMPORTED_TARGET openblas)
pkg_check_modules(LAPACKE REQUIRED IMPORTED_TARGET lapacke)
option(DNS_HDF5 "Read published HDF5 feature files, where libhdf5 is there" ON)
if(DNS_HDF5)
    pkg_check_modules(HDF5 IMPORTED_TARGET hdf5)
endif()
find_package(OpenMP REQUIRED COMPONENTS C)
include(${CMAKE_CURRENT_LIST_DIR}/faiss.cmake)
