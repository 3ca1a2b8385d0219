static void convolve(const int8_t *in, int8_t *out, const Window *w, const int8_t *weights, const float *factor, const float *offset, int zero)
{
    const int depth = w->channels / w->groups, features = w->features / w->groups;
    for (int o = 0; o < w->features; o++, weights += depth * w->rows * w->columns)
        for (int y = 0; y < w->out_height; y++)
            for (int x = 0; x < w->out_width; x++) {
                const int top = y * w->down - w->above, left = x * w->right - w->left, first = o / features * depth;
                const int row_0 = top < 0 ? -top : 0, row_n = top + w->rows > w->height ? w->height - top : w->rows;
                const int column_0 = left < 0 ? -left : 0;
                const int column_n = left + w->columns > w->width ? w->width - left : w->columns;
                int32_t sum = 0;
                for (int i = 0; i < depth; i++)
                    for (int row = row_0; row < row_n; row++) {
                        const int at = ((first + i) * w->height + top + row) * w->width + left;
                        const int tap = (i * w->rows + row) * w->columns;
                        for (int column = column_0; column < column_n; column++)
                            sum += weights[tap + column] * (in[at + column] - zero);
                    }
                *out++ = saturated((float)sum * factor[o] + offset[o]);
            }
}
