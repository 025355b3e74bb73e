# FAISS 1.7.3 with its C interface, which tools/setup builds into a cache: Debian's own package leaves the C functions
# out and is compiled without any vector instructions. Below lib/ stands a second pair of libraries that the dynamic
# linker prefers on processors with AVX2, so that one program runs at full speed on all of them.
#
# Looked for in -DDNS_FAISS_ROOT=..., in $DNS_FAISS, and where tools/setup puts it.
set(DNS_FAISS_ROOT "" CACHE PATH "Folder of FAISS 1.7.3 (include/, lib/); empty: as tools/setup made it")
if(DNS_FAISS_ROOT)
    set(faiss_root ${DNS_FAISS_ROOT})
elseif(DEFINED ENV{DNS_FAISS})
    set(faiss_root $ENV{DNS_FAISS})
elseif(DEFINED ENV{DNS_CACHE})
    set(faiss_root $ENV{DNS_CACHE}/faiss-1.7.3)
elseif(DEFINED ENV{XDG_CACHE_HOME})
    set(faiss_root $ENV{XDG_CACHE_HOME}/dnsel/faiss-1.7.3)
else()
    set(faiss_root $ENV{HOME}/.cache/dnsel/faiss-1.7.3)
endif()
foreach(file include/faiss/c_api/Index_c.h lib/libfaiss.so lib/libfaiss_c.so)
    if(NOT EXISTS ${faiss_root}/${file})
        message(FATAL_ERROR "FAISS 1.7.3 is not in ${faiss_root} (no ${file}). Run tools/setup, which builds it there, "
            "or give its folder with -DDNS_FAISS_ROOT=FOLDER.")
    endif()
endforeach()

add_library(FAISS SHARED IMPORTED)
set_target_properties(FAISS PROPERTIES
    IMPORTED_LOCATION ${faiss_root}/lib/libfaiss.so
    INTERFACE_INCLUDE_DIRECTORIES ${faiss_root}/include)
add_library(FAISS_C SHARED IMPORTED)
set_target_properties(FAISS_C PROPERTIES
    IMPORTED_LOCATION ${faiss_root}/lib/libfaiss_c.so
    INTERFACE_LINK_LIBRARIES FAISS)

# Installed beside libdnsel, in a folder of its own, and found there through libdnsel's run path.
install(DIRECTORY ${faiss_root}/lib/ DESTINATION ${CMAKE_INSTALL_LIBDIR}/dnsel PATTERN cmake EXCLUDE)
