/* The bytecode of every CPython version as that of 3.11 with additions: the one file that knows the numbers, how many
 * inline caches follow an instruction, and what stands where in an argument. Only the numbers change, never the
 * length: jumps, the exception table and the frames of CPython mean the same units before and behind. What is not
 * named here becomes UNSUPPORTED: a pass ends there. */
#include "flow.h"
#include "opcodes.h"

#if PY_VERSION_HEX < 0x030C0000

const uint8_t fl_caches[256] = {
    [BINARY_SUBSCR] = 4, [STORE_ATTR] = 4,      [LOAD_ATTR] = 4,    [CALL] = 4,
    [STORE_SUBSCR] = 1,  [UNPACK_SEQUENCE] = 1, [BINARY_OP] = 1,    [PRECALL] = 1,
    [COMPARE_OP] = 2,    [LOAD_GLOBAL] = 5,     [LOAD_METHOD] = 10,
};

static int number_of(int op) {
    return op;
}
static void adapt(int *op, int *arg) {
    (void)op, (void)arg;
}

#else

#if PY_VERSION_HEX < 0x030D0000
const uint8_t fl_caches[256] = {
    [BINARY_SUBSCR] = 1, [STORE_SUBSCR] = 1, [UNPACK_SEQUENCE] = 1,
    [FOR_ITER] = 1,      [STORE_ATTR] = 4,   [LOAD_ATTR] = 9,
    [LOAD_METHOD] = 9,   [COMPARE_OP] = 1,   [LOAD_GLOBAL] = 4,
    [BINARY_OP] = 1,     [SEND] = 1,         [LOAD_SUPER_ATTR] = 1,
    [CALL] = 3,
};
static const uint8_t numbers[256] = {
    [1] = POP_TOP,
    [2] = PUSH_NULL,
    [4] = END_FOR,
    [5] = END_SEND,
    [9] = NOP,
    [11] = UNARY_NEGATIVE,
    [12] = UNARY_NOT,
    [15] = UNARY_INVERT,
    [25] = BINARY_SUBSCR,
    [26] = BINARY_SLICE,
    [27] = STORE_SLICE,
    [30] = GET_LEN,
    [31] = MATCH_MAPPING,
    [32] = MATCH_SEQUENCE,
    [33] = MATCH_KEYS,
    [35] = PUSH_EXC_INFO,
    [36] = CHECK_EXC_MATCH,
    [37] = CHECK_EG_MATCH,
    [49] = WITH_EXCEPT_START,
    [50] = GET_AITER,
    [51] = GET_ANEXT,
    [52] = BEFORE_ASYNC_WITH,
    [53] = BEFORE_WITH,
    [54] = END_ASYNC_FOR,
    [60] = STORE_SUBSCR,
    [61] = DELETE_SUBSCR,
    [68] = GET_ITER,
    [69] = GET_YIELD_FROM_ITER,
    [71] = LOAD_BUILD_CLASS,
    [74] = LOAD_ASSERTION_ERROR,
    [75] = RETURN_GENERATOR,
    [83] = RETURN_VALUE,
    [85] = SETUP_ANNOTATIONS,
    [89] = POP_EXCEPT,
    [90] = STORE_NAME,
    [91] = DELETE_NAME,
    [92] = UNPACK_SEQUENCE,
    [93] = FOR_ITER,
    [94] = UNPACK_EX,
    [95] = STORE_ATTR,
    [96] = DELETE_ATTR,
    [97] = STORE_GLOBAL,
    [98] = DELETE_GLOBAL,
    [99] = SWAP,
    [100] = LOAD_CONST,
    [101] = LOAD_NAME,
    [102] = BUILD_TUPLE,
    [103] = BUILD_LIST,
    [104] = BUILD_SET,
    [105] = BUILD_MAP,
    [106] = LOAD_ATTR,
    [107] = COMPARE_OP,
    [108] = IMPORT_NAME,
    [109] = IMPORT_FROM,
    [110] = JUMP_FORWARD,
    [114] = POP_JUMP_FORWARD_IF_FALSE,
    [115] = POP_JUMP_FORWARD_IF_TRUE,
    [116] = LOAD_GLOBAL,
    [117] = IS_OP,
    [118] = CONTAINS_OP,
    [119] = RERAISE,
    [120] = COPY,
    [121] = RETURN_CONST,
    [122] = BINARY_OP,
    [123] = SEND,
    [124] = LOAD_FAST,
    [125] = STORE_FAST,
    [126] = DELETE_FAST,
    [127] = LOAD_FAST,
    [128] = POP_JUMP_FORWARD_IF_NOT_NONE,
    [129] = POP_JUMP_FORWARD_IF_NONE,
    [130] = RAISE_VARARGS,
    [131] = GET_AWAITABLE,
    [132] = MAKE_FUNCTION,
    [133] = BUILD_SLICE,
    [134] = JUMP_BACKWARD_NO_INTERRUPT,
    [135] = MAKE_CELL,
    [136] = LOAD_CLOSURE,
    [137] = LOAD_DEREF,
    [138] = STORE_DEREF,
    [139] = DELETE_DEREF,
    [140] = JUMP_BACKWARD,
    [141] = LOAD_SUPER_ATTR,
    [142] = CALL_FUNCTION_EX,
    [143] = LOAD_FAST_AND_CLEAR,
    [144] = EXTENDED_ARG,
    [145] = LIST_APPEND,
    [146] = SET_ADD,
    [147] = MAP_ADD,
    [149] = COPY_FREE_VARS,
    [150] = YIELD_VALUE,
    [151] = RESUME,
    [152] = MATCH_CLASS,
    [155] = FORMAT_VALUE,
    [156] = BUILD_CONST_KEY_MAP,
    [157] = BUILD_STRING,
    [162] = LIST_EXTEND,
    [163] = SET_UPDATE,
    [164] = DICT_MERGE,
    [165] = DICT_UPDATE,
    [171] = CALL,
    [172] = KW_NAMES,
    [173] = CALL_INTRINSIC_1,
};
#elif PY_VERSION_HEX < 0x030E0000
const uint8_t fl_caches[256] = {
    [BINARY_SUBSCR] = 1,
    [STORE_SUBSCR] = 1,
    [UNPACK_SEQUENCE] = 1,
    [FOR_ITER] = 1,
    [STORE_ATTR] = 4,
    [LOAD_ATTR] = 9,
    [LOAD_METHOD] = 9,
    [COMPARE_OP] = 1,
    [LOAD_GLOBAL] = 4,
    [BINARY_OP] = 1,
    [SEND] = 1,
    [LOAD_SUPER_ATTR] = 1,
    [CALL] = 3,
    [CONTAINS_OP] = 1,
    [JUMP_BACKWARD] = 1,
    [TO_BOOL] = 3,
    [POP_JUMP_FORWARD_IF_TRUE] = 1,
    [POP_JUMP_FORWARD_IF_FALSE] = 1,
    [POP_JUMP_FORWARD_IF_NONE] = 1,
    [POP_JUMP_FORWARD_IF_NOT_NONE] = 1,
};
static const uint8_t numbers[256] = {
    [1] = BEFORE_ASYNC_WITH,
    [2] = BEFORE_WITH,
    [4] = BINARY_SLICE,
    [5] = BINARY_SUBSCR,
    [6] = CHECK_EG_MATCH,
    [7] = CHECK_EXC_MATCH,
    [9] = DELETE_SUBSCR,
    [10] = END_ASYNC_FOR,
    [11] = END_FOR,
    [12] = END_SEND,
    [14] = FORMAT_SIMPLE,
    [15] = FORMAT_WITH_SPEC,
    [16] = GET_AITER,
    [18] = GET_ANEXT,
    [19] = GET_ITER,
    [20] = GET_LEN,
    [21] = GET_YIELD_FROM_ITER,
    [23] = LOAD_ASSERTION_ERROR,
    [24] = LOAD_BUILD_CLASS,
    [26] = MAKE_FUNCTION,
    [27] = MATCH_KEYS,
    [28] = MATCH_MAPPING,
    [29] = MATCH_SEQUENCE,
    [30] = NOP,
    [31] = POP_EXCEPT,
    [32] = POP_TOP,
    [33] = PUSH_EXC_INFO,
    [34] = PUSH_NULL,
    [35] = RETURN_GENERATOR,
    [36] = RETURN_VALUE,
    [37] = SETUP_ANNOTATIONS,
    [38] = STORE_SLICE,
    [39] = STORE_SUBSCR,
    [40] = TO_BOOL,
    [41] = UNARY_INVERT,
    [42] = UNARY_NEGATIVE,
    [43] = UNARY_NOT,
    [44] = WITH_EXCEPT_START,
    [45] = BINARY_OP,
    [46] = BUILD_CONST_KEY_MAP,
    [47] = BUILD_LIST,
    [48] = BUILD_MAP,
    [49] = BUILD_SET,
    [50] = BUILD_SLICE,
    [51] = BUILD_STRING,
    [52] = BUILD_TUPLE,
    [53] = CALL,
    [54] = CALL_FUNCTION_EX,
    [55] = CALL_INTRINSIC_1,
    [57] = CALL_KW,
    [58] = COMPARE_OP,
    [59] = CONTAINS_OP,
    [60] = CONVERT_VALUE,
    [61] = COPY,
    [62] = COPY_FREE_VARS,
    [63] = DELETE_ATTR,
    [64] = DELETE_DEREF,
    [65] = DELETE_FAST,
    [66] = DELETE_GLOBAL,
    [67] = DELETE_NAME,
    [68] = DICT_MERGE,
    [69] = DICT_UPDATE,
    [71] = EXTENDED_ARG,
    [72] = FOR_ITER,
    [73] = GET_AWAITABLE,
    [74] = IMPORT_FROM,
    [75] = IMPORT_NAME,
    [76] = IS_OP,
    [77] = JUMP_BACKWARD,
    [78] = JUMP_BACKWARD_NO_INTERRUPT,
    [79] = JUMP_FORWARD,
    [80] = LIST_APPEND,
    [81] = LIST_EXTEND,
    [82] = LOAD_ATTR,
    [83] = LOAD_CONST,
    [84] = LOAD_DEREF,
    [85] = LOAD_FAST,
    [86] = LOAD_FAST_AND_CLEAR,
    [87] = LOAD_FAST,
    [88] = LOAD_FAST_LOAD_FAST,
    [91] = LOAD_GLOBAL,
    [92] = LOAD_NAME,
    [93] = LOAD_SUPER_ATTR,
    [94] = MAKE_CELL,
    [95] = MAP_ADD,
    [96] = MATCH_CLASS,
    [97] = POP_JUMP_FORWARD_IF_FALSE,
    [98] = POP_JUMP_FORWARD_IF_NONE,
    [99] = POP_JUMP_FORWARD_IF_NOT_NONE,
    [100] = POP_JUMP_FORWARD_IF_TRUE,
    [101] = RAISE_VARARGS,
    [102] = RERAISE,
    [103] = RETURN_CONST,
    [104] = SEND,
    [105] = SET_ADD,
    [106] = SET_FUNCTION_ATTRIBUTE,
    [107] = SET_UPDATE,
    [108] = STORE_ATTR,
    [109] = STORE_DEREF,
    [110] = STORE_FAST,
    [111] = STORE_FAST_LOAD_FAST,
    [112] = STORE_FAST_STORE_FAST,
    [113] = STORE_GLOBAL,
    [114] = STORE_NAME,
    [115] = SWAP,
    [116] = UNPACK_EX,
    [117] = UNPACK_SEQUENCE,
    [118] = YIELD_VALUE,
    [149] = RESUME,
};
#elif PY_VERSION_HEX < 0x030F0000
const uint8_t fl_caches[256] = {
    [STORE_SUBSCR] = 1,
    [UNPACK_SEQUENCE] = 1,
    [FOR_ITER] = 1,
    [STORE_ATTR] = 4,
    [LOAD_ATTR] = 9,
    [LOAD_METHOD] = 9,
    [COMPARE_OP] = 1,
    [LOAD_GLOBAL] = 4,
    [BINARY_OP] = 5,
    [BINARY_SUBSCR] = 5,
    [SEND] = 1,
    [LOAD_SUPER_ATTR] = 1,
    [CALL] = 3,
    [CALL_KW] = 3,
    [CONTAINS_OP] = 1,
    [JUMP_BACKWARD] = 1,
    [TO_BOOL] = 3,
    [POP_JUMP_FORWARD_IF_TRUE] = 1,
    [POP_JUMP_FORWARD_IF_FALSE] = 1,
    [POP_JUMP_FORWARD_IF_NONE] = 1,
    [POP_JUMP_FORWARD_IF_NOT_NONE] = 1,
};
static const uint8_t numbers[256] = {
    [1] = BINARY_SLICE,
    [4] = CALL_FUNCTION_EX,
    [5] = CHECK_EG_MATCH,
    [6] = CHECK_EXC_MATCH,
    [8] = DELETE_SUBSCR,
    [9] = END_FOR,
    [10] = END_SEND,
    [12] = FORMAT_SIMPLE,
    [13] = FORMAT_WITH_SPEC,
    [14] = GET_AITER,
    [15] = GET_ANEXT,
    [16] = GET_ITER,
    [18] = GET_LEN,
    [19] = GET_YIELD_FROM_ITER,
    [21] = LOAD_BUILD_CLASS,
    [23] = MAKE_FUNCTION,
    [24] = MATCH_KEYS,
    [25] = MATCH_MAPPING,
    [26] = MATCH_SEQUENCE,
    [27] = NOP,
    [28] = NOP,
    [29] = POP_EXCEPT,
    [30] = POP_TOP,
    [31] = POP_TOP,
    [32] = PUSH_EXC_INFO,
    [33] = PUSH_NULL,
    [34] = RETURN_GENERATOR,
    [35] = RETURN_VALUE,
    [36] = SETUP_ANNOTATIONS,
    [37] = STORE_SLICE,
    [38] = STORE_SUBSCR,
    [39] = TO_BOOL,
    [40] = UNARY_INVERT,
    [41] = UNARY_NEGATIVE,
    [42] = UNARY_NOT,
    [43] = WITH_EXCEPT_START,
    [44] = BINARY_OP,
    [46] = BUILD_LIST,
    [47] = BUILD_MAP,
    [48] = BUILD_SET,
    [49] = BUILD_SLICE,
    [50] = BUILD_STRING,
    [51] = BUILD_TUPLE,
    [52] = CALL,
    [53] = CALL_INTRINSIC_1,
    [55] = CALL_KW,
    [56] = COMPARE_OP,
    [57] = CONTAINS_OP,
    [58] = CONVERT_VALUE,
    [59] = COPY,
    [60] = COPY_FREE_VARS,
    [61] = DELETE_ATTR,
    [62] = DELETE_DEREF,
    [63] = DELETE_FAST,
    [64] = DELETE_GLOBAL,
    [65] = DELETE_NAME,
    [66] = DICT_MERGE,
    [67] = DICT_UPDATE,
    [68] = END_ASYNC_FOR,
    [69] = EXTENDED_ARG,
    [70] = FOR_ITER,
    [71] = GET_AWAITABLE,
    [72] = IMPORT_FROM,
    [73] = IMPORT_NAME,
    [74] = IS_OP,
    [75] = JUMP_BACKWARD,
    [76] = JUMP_BACKWARD_NO_INTERRUPT,
    [77] = JUMP_FORWARD,
    [78] = LIST_APPEND,
    [79] = LIST_EXTEND,
    [80] = LOAD_ATTR,
    [81] = LOAD_ASSERTION_ERROR,
    [82] = LOAD_CONST,
    [83] = LOAD_DEREF,
    [84] = LOAD_FAST,
    [85] = LOAD_FAST_AND_CLEAR,
    [86] = LOAD_FAST,
    [87] = LOAD_FAST_LOAD_FAST,
    [88] = LOAD_FAST,
    [89] = LOAD_FAST_LOAD_FAST,
    [92] = LOAD_GLOBAL,
    [93] = LOAD_NAME,
    [94] = LOAD_SMALL_INT,
    [95] = LOAD_SPECIAL,
    [96] = LOAD_SUPER_ATTR,
    [97] = MAKE_CELL,
    [98] = MAP_ADD,
    [99] = MATCH_CLASS,
    [100] = POP_JUMP_FORWARD_IF_FALSE,
    [101] = POP_JUMP_FORWARD_IF_NONE,
    [102] = POP_JUMP_FORWARD_IF_NOT_NONE,
    [103] = POP_JUMP_FORWARD_IF_TRUE,
    [104] = RAISE_VARARGS,
    [105] = RERAISE,
    [106] = SEND,
    [107] = SET_ADD,
    [108] = SET_FUNCTION_ATTRIBUTE,
    [109] = SET_UPDATE,
    [110] = STORE_ATTR,
    [111] = STORE_DEREF,
    [112] = STORE_FAST,
    [113] = STORE_FAST_LOAD_FAST,
    [114] = STORE_FAST_STORE_FAST,
    [115] = STORE_GLOBAL,
    [116] = STORE_NAME,
    [117] = SWAP,
    [118] = UNPACK_EX,
    [119] = UNPACK_SEQUENCE,
    [120] = YIELD_VALUE,
    [128] = RESUME,
};
#else
const uint8_t fl_caches[256] = {0};
static const uint8_t numbers[256] = {0};
#endif

static int number_of(int op) {
    return op == 0 ? CACHE : numbers[op] ? numbers[op] : UNSUPPORTED;
}

/* Arguments that hold two things, and instructions that do what others did. */
static void adapt(int *op, int *arg) {
    static const uint8_t intrinsics[] = {[3] = STOP_ITERATION_ERROR,
                                         [4] = ASYNC_GEN_WRAP,
                                         [5] = UNARY_POSITIVE,
                                         [6] = LIST_TO_TUPLE};
    switch (*op) {
    case LOAD_ATTR:
        if (*arg & 1)
            *op = LOAD_METHOD;
        *arg >>= 1;
        break;
    case COMPARE_OP: /* 8: as a bool */
#if PY_VERSION_HEX < 0x030D0000
        *arg >>= 4;
#else
        *arg = *arg >> 5 | (*arg & 16) >> 1;
#endif
        break;
#if PY_VERSION_HEX >= 0x030E0000
    case BINARY_OP:
        if (*arg == 26)
            *op = BINARY_SUBSCR;
        break;
    case CALL_FUNCTION_EX: /* a dict or NULL for keywords is always there */
        *arg = 1;
        break;
#endif
    case CALL_INTRINSIC_1:
        *op = *arg < (int)sizeof intrinsics && intrinsics[*arg] ? intrinsics[*arg] : UNSUPPORTED;
        *arg = 0;
        break;
    default:
        break;
    }
}

#endif

static struct fl_instr instr_at(const struct fl_code *c, int from) {
    int at = from, arg = c->unit[2 * at + 1];
    while (c->unit[2 * at] == EXTENDED_ARG && at + 1 < c->units) {
        at++;
        arg = arg << 8 | c->unit[2 * at + 1];
    }
    if (c->unit[2 * at] == PRECALL && at == from && at + 2 < c->units &&
        c->unit[2 * (at + 2)] == CALL)
        arg = c->unit[2 * (at += 2) + 1];
    int op = c->unit[2 * at];
    return (struct fl_instr){.op = (uint8_t)op,
                             .ext = (uint8_t)(at - from),
                             .skip = (uint8_t)(at - from + 1 + fl_caches[op]),
                             .arg = arg};
}

int fl_bytecode_read(struct fl_code *c) {
    const uint8_t *raw = (const uint8_t *)PyBytes_AS_STRING(c->bytes);
    uint8_t *unit = PyMem_Calloc((size_t)c->units + 1, 2);
    if (!unit)
        return -1;
    c->raw = raw;
    c->unit = unit;
    for (int from = 0; from < c->units;) {
        int at = from, arg = raw[2 * at + 1];
        while (number_of(raw[2 * at]) == EXTENDED_ARG && at + 1 < c->units) {
            at++;
            arg = arg << 8 | raw[2 * at + 1];
        }
        int op = number_of(raw[2 * at]);
        adapt(&op, &arg);
        unit[2 * at] = (uint8_t)op;
        for (int u = at; u >= from; u--, arg >>= 8) {
            unit[2 * u + 1] = (uint8_t)arg;
            if (u < at)
                unit[2 * u] = EXTENDED_ARG;
        }
        for (from = at + 1; from <= at + fl_caches[op] && from < c->units; from++)
            unit[2 * from] = CACHE;
    }
    unit[2 * c->units] = RETURN_VALUE; /* where every way ends: code.c */
    if (!(c->instr = PyMem_New(struct fl_instr, c->units + 1)))
        return -1;
    for (int u = 0; u <= c->units; u++)
        c->instr[u] = instr_at(c, u);
    return 0;
}

int fl_bytecode_effect(const struct fl_code *c, int at, int jumps) {
    int op = c->unit[2 * at], arg = 0, from = at;
    while (from > 0 && c->unit[2 * (from - 1)] == EXTENDED_ARG)
        from--;
    for (int u = from; u <= at; u++)
        arg = arg << 8 | c->raw[2 * u + 1];
    if (op == PRECALL || op == KW_NAMES || op == CACHE)
        return 0;
    if (op == CALL) /* with the PRECALL and KW_NAMES in front of it */
        return -(arg + 1);
    if (op == RETURN_GENERATOR) /* what is sent first lies on the stack */
        return 1;
    return PyCompile_OpcodeStackEffectWithJump(c->raw[2 * at], arg, jumps);
}
