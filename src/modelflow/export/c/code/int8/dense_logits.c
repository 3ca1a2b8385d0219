static void dense_logits(const int8_t *in, float *out, int inputs, int outputs, const int8_t *weights, const float *factor, const float *offset, int zero)
{
    for (int o = 0; o < outputs; o++, weights += inputs) {
        int32_t sum = 0;
        for (int i = 0; i < inputs; i++)
            sum += weights[i] * (in[i] - zero);
        out[o] = (float)sum * factor[o] + offset[o];
    }
}
