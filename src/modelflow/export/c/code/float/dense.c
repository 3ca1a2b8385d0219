static void dense(const float *in, float *out, int inputs, int outputs, const float *weights, const float *bias, float low, float high)
{
    for (int o = 0; o < outputs; o++, weights += inputs) {
        float sum = bias[o];
        for (int i = 0; i < inputs; i++)
            sum += weights[i] * in[i];
        out[o] = bounded(sum, low, high);
    }
}
