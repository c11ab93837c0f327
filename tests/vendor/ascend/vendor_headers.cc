// Grade 2: our prototypes and constants against the vendor's own headers. Compiled only where they
// are installed, with -DFERRY_CANN_HOME=/usr/local/Ascend/ascend-toolkit/latest; a difference is an
// error here and not garbage on a chip. Nothing of it is run.
//
// Pointers to the vendor's structs and its enumerations have names of their own in each header, so
// types are compared by what the calling convention sees: a pointer, an int, a float, a bool.
#include <acl/acl.h>
#include <aclnn/acl_meta.h>
#include <aclnnop/aclnn_add.h>
#include <aclnnop/aclnn_add_rms_norm.h>
#include <aclnnop/aclnn_batch_matmul.h>
#include <aclnnop/aclnn_cast.h>
#include <aclnnop/aclnn_copy.h>
#include <aclnnop/aclnn_div.h>
#include <aclnnop/aclnn_fused_infer_attention_score_v2.h>
#include <aclnnop/aclnn_fused_infer_attention_score_v3.h>
#include <aclnnop/aclnn_fused_infer_attention_score_v4.h>
#include <aclnnop/aclnn_grouped_matmul_v4.h>
#include <aclnnop/aclnn_grouped_matmul_v5.h>
#include <aclnnop/aclnn_index_select.h>
#include <aclnnop/aclnn_layer_norm.h>
#include <aclnnop/aclnn_matmul.h>
#include <aclnnop/aclnn_moe_gating_top_k.h>
#include <aclnnop/aclnn_mul.h>
#include <aclnnop/aclnn_relu.h>
#include <aclnnop/aclnn_rms_norm.h>
#include <aclnnop/aclnn_rotary_position_embedding.h>
#include <aclnnop/aclnn_scatter_nd_update.h>
#include <aclnnop/aclnn_sigmoid.h>
#include <aclnnop/aclnn_softmax.h>
#include <aclnnop/aclnn_sub.h>
#include <aclnnop/aclnn_swi_glu.h>
#include <aclnnop/aclnn_weight_quant_batch_matmul_v2.h>

#include <type_traits>

#include "backends/ascend/vendor.h"

namespace ferry::ascend {
namespace {

template <typename T>
struct Seen {
  using Plain = std::remove_cv_t<T>;
  using type = std::conditional_t<std::is_pointer_v<Plain> || std::is_array_v<Plain>, void*,
                                  std::conditional_t<std::is_enum_v<Plain>, int, Plain>>;
};
template <typename Result, typename... Arguments>
struct Seen<Result(Arguments...)> {
  using type = typename Seen<Result>::type(typename Seen<Arguments>::type...);
};

template <typename Theirs, typename Ours>
constexpr bool kAgree = std::is_same_v<typename Seen<std::remove_pointer_t<Theirs>>::type,
                                       typename Seen<std::remove_pointer_t<Ours>>::type>;

#define FERRY_AGREES(name, result, arguments)                      \
  static_assert(kAgree<decltype(&::name), decltype(Vendor::name)>, \
                "the prototype of " #name " is not the one of this release");
FERRY_ACL_SYMBOLS(FERRY_AGREES)
FERRY_NNOPBASE_SYMBOLS(FERRY_AGREES)
#undef FERRY_AGREES
#define FERRY_AGREES(name, ...)                                                           \
  static_assert(                                                                          \
      kAgree<decltype(&::aclnn##name##GetWorkspaceSize), decltype(Vendor::name.prepare)>, \
      "the prototype of aclnn" #name "GetWorkspaceSize is not the one of this release");  \
  static_assert(kAgree<decltype(&::aclnn##name), decltype(Vendor::name.execute)>,         \
                "the prototype of aclnn" #name " is not the one of this release");
FERRY_ACLNN_SYMBOLS(FERRY_AGREES)
FERRY_ACLNN_OPTIONAL_SYMBOLS(FERRY_AGREES)
#undef FERRY_AGREES

static_assert(sizeof(aclError) == sizeof(int) && sizeof(aclnnStatus) == sizeof(int));
static_assert(kAclSuccess == ACL_SUCCESS && kAclRepeatInitialize == ACL_ERROR_REPEAT_INITIALIZE);
static_assert(kAclFloat == ACL_FLOAT && kAclFloat16 == ACL_FLOAT16 && kAclBf16 == ACL_BF16);
static_assert(kAclInt8 == ACL_INT8);
static_assert(kAclInt32 == ACL_INT32 && kAclInt64 == ACL_INT64 && kFormatNd == ACL_FORMAT_ND);
static_assert(kHostToDevice == ACL_MEMCPY_HOST_TO_DEVICE);
static_assert(kDeviceToHost == ACL_MEMCPY_DEVICE_TO_HOST);
static_assert(kMallocHugeFirst == ACL_MEM_MALLOC_HUGE_FIRST);
static_assert(kDdrMemory == ACL_DDR_MEM && kHbmMemory == ACL_HBM_MEM);

}  // namespace
}  // namespace ferry::ascend
