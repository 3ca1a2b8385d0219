static void weigh(const int8_t *in, const int8_t *weights, int8_t *out, int channels, int size, int zero_in, int zero_weights, int zero_out, float factor)
{
    for (int c = 0; c < channels; c++)
        for (int i = 0; i < size; i++) {
            const int32_t product = (in[c * size + i] - zero_in) * (weights[c] - zero_weights);
            out[c * size + i] = saturated((float)product * factor + (float)zero_out);
        }
}
