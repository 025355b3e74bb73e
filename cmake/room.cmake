# A room is one folder, one static library, one include directory. It sees the headers of the rooms that it names in
# USES and of no others, so an include that points upward does not compile.
#
#   dns_room(store SOURCES store.c snapshot.c USES base LIBRARIES PkgConfig::LMDB)
#
# makes the target dns_store. Private headers lie beside the sources; public ones in include/dnsel.
function(dns_room name)
    cmake_parse_arguments(ROOM "" "" "SOURCES;USES;LIBRARIES" ${ARGN})
    set_property(GLOBAL APPEND PROPERTY DNS_ROOMS ${name})
    set_property(GLOBAL PROPERTY DNS_ROOM_DIR_${name} ${CMAKE_CURRENT_SOURCE_DIR})
    set_property(GLOBAL PROPERTY DNS_ROOM_LIBRARIES_${name} ${ROOM_LIBRARIES})
    list(TRANSFORM ROOM_USES PREPEND dns_)
    if(ROOM_SOURCES)
        add_library(dns_${name} STATIC ${ROOM_SOURCES})
        set_target_properties(dns_${name} PROPERTIES
            POSITION_INDEPENDENT_CODE ON C_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden)
        target_include_directories(dns_${name} PUBLIC ${CMAKE_CURRENT_SOURCE_DIR}/include)
        target_include_directories(dns_${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
        target_link_libraries(dns_${name} PUBLIC ${ROOM_USES} PRIVATE ${ROOM_LIBRARIES} m)
        target_compile_options(dns_${name} PRIVATE ${DNS_WARNINGS})
    else()
        add_library(dns_${name} INTERFACE)
        target_include_directories(dns_${name} INTERFACE ${CMAKE_CURRENT_SOURCE_DIR}/include)
        target_link_libraries(dns_${name} INTERFACE ${ROOM_USES})
    endif()
endfunction()

# A test program: linked to the static rooms, so that it may also reach private headers of the rooms in PRIVATE_OF.
#
#   dns_test(store_record SOURCES record_test.c ROOMS store PRIVATE_OF store)
function(dns_test name)
    cmake_parse_arguments(T "" "TIMEOUT" "SOURCES;ROOMS;PRIVATE_OF;LABELS;LIBRARIES" ${ARGN})
    list(TRANSFORM T_ROOMS PREPEND dns_)
    add_executable(test_${name} ${T_SOURCES})
    target_link_libraries(test_${name} PRIVATE ${T_ROOMS} dns_test_support ${T_LIBRARIES} PkgConfig::CMOCKA m)
    target_compile_options(test_${name} PRIVATE ${DNS_WARNINGS})
    foreach(room IN LISTS T_PRIVATE_OF)
        get_property(dir GLOBAL PROPERTY DNS_ROOM_DIR_${room})
        target_include_directories(test_${name} PRIVATE ${dir})
    endforeach()
    add_test(NAME ${name} COMMAND test_${name})
    if(NOT T_TIMEOUT)
        set(T_TIMEOUT 300)
    endif()
    set_tests_properties(${name} PROPERTIES TIMEOUT ${T_TIMEOUT} LABELS "unit;${T_LABELS}"
        ENVIRONMENT "OMP_NUM_THREADS=1;OPENBLAS_NUM_THREADS=1")
endfunction()
