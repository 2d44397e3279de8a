/* Instructions by the numbers of CPython 3.11, and those that later versions have besides: bytecode.c translates. */
#ifndef ERG_CORE_FLOW_OPCODES_H
#define ERG_CORE_FLOW_OPCODES_H

enum fl_opcode {
    CACHE = 0,
    POP_TOP = 1,
    PUSH_NULL = 2,
    NOP = 9,
    UNARY_POSITIVE = 10,
    UNARY_NEGATIVE = 11,
    UNARY_NOT = 12,
    UNARY_INVERT = 15,
    BINARY_SUBSCR = 25,
    GET_LEN = 30,
    MATCH_MAPPING = 31,
    MATCH_SEQUENCE = 32,
    MATCH_KEYS = 33,
    PUSH_EXC_INFO = 35,
    CHECK_EXC_MATCH = 36,
    CHECK_EG_MATCH = 37,
    WITH_EXCEPT_START = 49,
    GET_AITER = 50,
    GET_ANEXT = 51,
    BEFORE_ASYNC_WITH = 52,
    BEFORE_WITH = 53,
    END_ASYNC_FOR = 54,
    STORE_SUBSCR = 60,
    DELETE_SUBSCR = 61,
    GET_ITER = 68,
    GET_YIELD_FROM_ITER = 69,
    PRINT_EXPR = 70,
    LOAD_BUILD_CLASS = 71,
    LOAD_ASSERTION_ERROR = 74,
    RETURN_GENERATOR = 75,
    LIST_TO_TUPLE = 82,
    RETURN_VALUE = 83,
    IMPORT_STAR = 84,
    SETUP_ANNOTATIONS = 85,
    YIELD_VALUE = 86,
    ASYNC_GEN_WRAP = 87,
    PREP_RERAISE_STAR = 88,
    POP_EXCEPT = 89,
    STORE_NAME = 90,
    DELETE_NAME = 91,
    UNPACK_SEQUENCE = 92,
    FOR_ITER = 93,
    UNPACK_EX = 94,
    STORE_ATTR = 95,
    DELETE_ATTR = 96,
    STORE_GLOBAL = 97,
    DELETE_GLOBAL = 98,
    SWAP = 99,
    LOAD_CONST = 100,
    LOAD_NAME = 101,
    BUILD_TUPLE = 102,
    BUILD_LIST = 103,
    BUILD_SET = 104,
    BUILD_MAP = 105,
    LOAD_ATTR = 106,
    COMPARE_OP = 107,
    IMPORT_NAME = 108,
    IMPORT_FROM = 109,
    JUMP_FORWARD = 110,
    JUMP_IF_FALSE_OR_POP = 111,
    JUMP_IF_TRUE_OR_POP = 112,
    POP_JUMP_FORWARD_IF_FALSE = 114,
    POP_JUMP_FORWARD_IF_TRUE = 115,
    LOAD_GLOBAL = 116,
    IS_OP = 117,
    CONTAINS_OP = 118,
    RERAISE = 119,
    COPY = 120,
    BINARY_OP = 122,
    SEND = 123,
    LOAD_FAST = 124,
    STORE_FAST = 125,
    DELETE_FAST = 126,
    POP_JUMP_FORWARD_IF_NOT_NONE = 128,
    POP_JUMP_FORWARD_IF_NONE = 129,
    RAISE_VARARGS = 130,
    GET_AWAITABLE = 131,
    MAKE_FUNCTION = 132,
    BUILD_SLICE = 133,
    JUMP_BACKWARD_NO_INTERRUPT = 134,
    MAKE_CELL = 135,
    LOAD_CLOSURE = 136,
    LOAD_DEREF = 137,
    STORE_DEREF = 138,
    DELETE_DEREF = 139,
    JUMP_BACKWARD = 140,
    CALL_FUNCTION_EX = 142,
    EXTENDED_ARG = 144,
    LIST_APPEND = 145,
    SET_ADD = 146,
    MAP_ADD = 147,
    LOAD_CLASSDEREF = 148,
    COPY_FREE_VARS = 149,
    RESUME = 151,
    MATCH_CLASS = 152,
    FORMAT_VALUE = 155,
    BUILD_CONST_KEY_MAP = 156,
    BUILD_STRING = 157,
    LOAD_METHOD = 160,
    LIST_EXTEND = 162,
    SET_UPDATE = 163,
    DICT_MERGE = 164,
    DICT_UPDATE = 165,
    PRECALL = 166,
    CALL = 171,
    KW_NAMES = 172,
    POP_JUMP_BACKWARD_IF_NOT_NONE = 173,
    POP_JUMP_BACKWARD_IF_NONE = 174,
    POP_JUMP_BACKWARD_IF_FALSE = 175,
    POP_JUMP_BACKWARD_IF_TRUE = 176,
    /* new in 3.12 */
    RETURN_CONST = 180,
    END_FOR,
    END_SEND,
    LOAD_FAST_AND_CLEAR,
    LOAD_SUPER_ATTR,
    BINARY_SLICE,
    STORE_SLICE,
    CALL_INTRINSIC_1,
    STOP_ITERATION_ERROR, /* an intrinsic */
    /* new in 3.13 */
    CALL_KW,
    TO_BOOL,
    STORE_FAST_LOAD_FAST,
    STORE_FAST_STORE_FAST,
    LOAD_FAST_LOAD_FAST,
    CONVERT_VALUE,
    FORMAT_SIMPLE,
    FORMAT_WITH_SPEC,
    SET_FUNCTION_ATTRIBUTE,
    /* new in 3.14 */
    LOAD_SMALL_INT,
    LOAD_SPECIAL,
    UNSUPPORTED = 255,
};

/* How many inline caches follow an instruction. */
extern const uint8_t fl_caches[256];

/* The stack before a call: NULL and callable, or method and self; since 3.13 callable and NULL, or method and self. */
#if PY_VERSION_HEX >= 0x030D0000
#define FL_CALLABLE_FIRST 1
#else
#define FL_CALLABLE_FIRST 0
#endif

/* PRECALL stands before CALL, and what BEFORE_WITH has left in the manager's place while it calls is alive: __exit__, bound. */
#if PY_VERSION_HEX >= 0x030C0000
enum { FL_PRECALL = 0, FL_WITH_LIVE = 0 };
#else
enum { FL_PRECALL = 1, FL_WITH_LIVE = 1 };
#endif

/* __exit__ lies on the stack as what a call takes, a callable and an object or NULL; else bound. */
#if PY_VERSION_HEX >= 0x030E0000
#define FL_EXIT_UNBOUND 1
#else
#define FL_EXIT_UNBOUND 0
#endif

/* What FOR_ITER jumps over behind its target, and what the first of that takes from the stack where it is run. SEND leaves the
 * iterator to END_SEND. */
#if PY_VERSION_HEX >= 0x030D0000
enum { FL_FOR_SKIP = 2, FL_END_FOR_POPS = 1, FL_SEND_KEEPS = 1 };
#elif PY_VERSION_HEX >= 0x030C0000
enum { FL_FOR_SKIP = 1, FL_END_FOR_POPS = 2, FL_SEND_KEEPS = 1 };
#else
enum { FL_FOR_SKIP = 0, FL_END_FOR_POPS = 0, FL_SEND_KEEPS = 0 };
#endif

#endif
