/* libdnsel is made of the rooms alone; CMake wants one source file of its own. */
typedef int dns_library_has_no_source_of_its_own;
