/* The self-test, then the logits of every image as eight hexadecimal digits each. */
#include "images.h"
#include "model.h"

int semihosting(int operation, const void *argument);

int main(void)
{
    static float logits[MODEL_CLASSES];
    static union { float number; uint32_t bits; } both;
    if (!model_selftest())
        return 3;
    for (int n = 0; n < IMAGES; n++) {
        model_logits(images[n], logits);
        for (int k = 0; k < MODEL_CLASSES; k++) {
            char digits[10] = "00000000 ";
            both.number = logits[k];
            for (int i = 0; i < 8; i++)
                digits[i] = "0123456789abcdef"[both.bits >> (28 - 4 * i) & 15];
            semihosting(4, digits);
        }
    }
    return 0;
}
