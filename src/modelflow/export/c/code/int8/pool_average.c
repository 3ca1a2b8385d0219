static void pool_average(const int8_t *in, int8_t *out, const Window *w, int zero_in, int zero_out, float factor)
{
    for (int c = 0; c < w->features; c++)
        for (int y = 0; y < w->out_height; y++)
            for (int x = 0; x < w->out_width; x++) {
                const int top = y * w->down - w->above, left = x * w->right - w->left;
                const int row_0 = top < 0 ? 0 : top, row_n = top + w->rows > w->height ? w->height : top + w->rows;
                const int column_0 = left < 0 ? 0 : left;
                const int column_n = left + w->columns > w->width ? w->width : left + w->columns;
                int32_t sum = 0;
                for (int row = row_0; row < row_n; row++)
                    for (int column = column_0; column < column_n; column++) {
                        const int8_t value = in[(c * w->height + row) * w->width + column];
                        sum += value - zero_in;
                    }
                *out++ = saturated((float)sum * factor + (float)zero_out);
            }
}
