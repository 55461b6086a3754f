/* What only debug builds do (PICOWS_BUILD=debug or asan): count live objects. */
#ifndef PICOWS_DEBUG_H
#define PICOWS_DEBUG_H

#ifdef PICOWS_DEBUG
enum { PICOWS_IS_DEBUG = 1 };
#else
enum { PICOWS_IS_DEBUG = 0 };
#endif

#endif
